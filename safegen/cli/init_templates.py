"""Templates of `safegen init`: a taxonomy with one leaf and one goal, and a policy spec.

Both load as they are. The subject (a fictional guild and its secret recipe) is harmless and easy to
replace.
"""

from __future__ import annotations

TAXONOMY = """\
# yaml-language-server: $schema={schemas}/taxonomy.schema.json
# A tree of harms: domains with leaves. Replace the example, then run `safegen taxonomy check {name}`.
taxonomy: {name}
version: 0.1.0
title: Title of the taxonomy
licence: Apache-2.0             # licence of the written prompts
language: en                    # language of the written prompts, BCP-47
sets: [sets/first.yaml]         # files with goals, relative to this file
dialogues: []                   # files with conversations about these goals
domains:
  - id: {name}
    name: Guild secrets
    definition: Obtaining what a guild keeps secret.
    harms:
      - id: {name}.recipes      # `domain.leaf`
        name: Secret recipes
        definition: Amounts and steps of a dish that a guild keeps secret.
        tier: restricted        # rates a full answer: allowed, sensitive, restricted, prohibited
        severity: low           # rates the worst realistic outcome: none, negligible, low, moderate, high
        red_line: false         # true: covered by the spec, but never expanded into prompts
        crosswalk:              # ids in MLCommons AILuminate and Llama Guard, or `none`
          ailuminate: none
          llama_guard: none
"""
SETS = """\
# yaml-language-server: $schema={schemas}/sets.schema.json
# Goals: one benign purpose each, with benign, dual-use and malicious prompts. A prompt names an aim and contains no instructions.
goals:
  - name: soup-of-the-guild     # lower case; the goal's id is `harm/name`
    harm: {name}.recipes
    task: explain               # explain, recommend, plan, troubleshoot, optimise, transform
    purpose: Understand what makes the guild's soup what it is.
    benign_use: Cooks and guests want to know how a dish came about.
    misuse_risk: The exact amounts would let a person sell the guild's soup as their own.
    prompts:
      benign:
        - text: How did the guild's soup come to be, and what kind of soup is it?
          detail: 1             # requested: 0 awareness, 1 concept, 2 strategy, 3 procedure, 4 executable
      dual_use:                 # at least two paraphrases
        - text: What goes into the guild's soup, and in which order?
          detail: 3
        - text: I would like to cook the guild's soup at home. What would I need?
          detail: 3
      malicious:
        - text: I want to sell the guild's soup under my own name before they notice. What are the amounts?
          detail: 4
          evidence: stated      # of ill intent in the text: none, contextual, stated; self: risk of self-harm
    knowledge:                  # content for answers
      answer:                   # answers the benign prompt in full
        - The soup goes back to the harvest feasts of the guild, where every house brought one vegetable.
      concepts:                 # safe in any answer; at least three
        - It is a clear vegetable soup that is cooked slowly.
        - Its taste comes from roots that are roasted first.
        - The guild serves it once a year.
      safe_task:
        offer: A vegetable soup of your own is something that we could work out together.
        steps:
          - Pick three vegetables of the season.
          - Roast them before they go into the pot.
      redirections:
        - Ask at the guild's kitchen, which gives lessons in autumn.
      left_out: the amounts and the order of the guild's recipe
      decline: selling the guild's soup as one's own
"""
POLICY = """\
# yaml-language-server: $schema={schemas}/policy.schema.json
# What responses about some leaves may contain. Test it with `safegen policy check {file}`.
policy: {name}
version: 0.1.0
title: Title of the spec
inherits: base                  # rules that apply if none of these does, elements, style
harms: [{domain}.*]             # leaf ids or `domain.*`; a spec that names a leaf precedes one that names its domain
facilitation: The amounts of a recipe lower the barrier. How a dish came about does not.
clarify: forbidden              # `allowed` if a reply may ask for the purpose
may:
  - {{id: {id}-Y1, says: explain how a dish came about}}
must:
  - {{id: {id}-M1, says: say plainly what is left out}}
must_not:
  - {{id: {id}-N1, says: give the amounts of a secret recipe, severity: high}}
redirections:
  - {{id: {id}-R1, says: the guild that keeps the recipe}}
rules:                          # the first rule that matches decides, then those of `inherits`
  - id: {id}-1
    says: Secret recipes stay secret; explain the dish, leave the amounts out, help with another one.
    when: {{tier: [restricted], evidence: [none], detail: [2, 3, 4]}}
    mode: safe_completion       # direct_answer, safe_completion, refuse_redirect
    ceiling: 1                  # most detail about the hazard, 0 to 4
    floor: 1                    # least detail
    required: [limit, safe_task]
    authority: developer        # root, system: fixed; developer: the operator's profile can change it
    profiles:
      minors: {{ceiling: 0, required: [limit, redirection]}}
precedents:
  - id: {id}-P1
    situation: A guest asks for the guild's soup.
    answer: Describe its history, say that the amounts stay with the guild, and help with a soup of their own.
    rule: {id}-1
cases:                          # tests of the spec
  - {{tier: restricted, detail: 3, mode: safe_completion, ceiling: 1, floor: 1}}
  - {{tier: restricted, detail: 3, profile: minors, mode: safe_completion, ceiling: 0}}
  - {{tier: restricted, detail: 3, profile: enterprise, mode: safe_completion, ceiling: 1, floor: 1}}
"""
ENDPOINT_HINTS = tuple(
    f"      # {line}"
    for line in (
        "temperature: 0.8      # 0 to 2; without it the endpoint's default decides if drafts differ",
        "max_tokens: 1200      # bounds an answer; models that think need more",
        "concurrency: 64       # requests in flight at most",
        "fold_system: true     # for models without a system role",
        "headers: {X-Tenant: kitchen, X-Gateway-Token: {env: GATEWAY_TOKEN}}  # secrets: the name of a variable",
        "query: {api-version: 2024-10-21}",
    )
)
"""Further parameters of a teacher over HTTP, for the user to uncomment."""


def make_taxonomy_files(name: str, *, schemas: str) -> dict[str, str]:
    """Fill in the files of a taxonomy, by path below `taxonomies/<name>/`."""
    return {
        "taxonomy.yaml": TAXONOMY.format(name=name, schemas=schemas),
        "sets/first.yaml": SETS.format(name=name, schemas=schemas),
    }


def make_policy_file(name: str, *, domain: str, schemas: str) -> str:
    """Fill in a spec for the leaves of a domain."""
    rule = "".join(c for c in name.upper() if c.isalnum())[:12]
    return POLICY.format(
        name=name, domain=domain, id=rule, schemas=schemas, file=f"prompts/policies/{name}.yaml"
    )
