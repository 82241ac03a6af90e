"""The only functions that read a provider's words: vendors have no common codes.

Codes and types are compared first. The words are those of the vendors' documents and of public
reports, in the languages in which they write.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from safegen.teachers._stated_wait import read_stated_wait

# OpenAI, Azure (ResponsibleAIPolicyViolation), DashScope (data_inspection_failed), MiniMax (1027),
# Zhipu (1301), xAI, Moonshot, Bedrock, OpenRouter, DeepSeek (Content Exists Risk).
POLICY_CODES = frozenset(
    "content_filter content_policy_violation responsibleaipolicyviolation data_inspection_failed"
    " datainspectionfailed moderation_blocked content_policy invalid_prompt safety_violation"
    " sensitive_content safety_check content_moderation content_filtered 1301 1027"
    " prohibited_content cyber_policy_violation guardrail_intervened sensitive".split()
)
POLICY_WORDS = re.compile(
    r"content.?filter|content.?polic|content management polic|responsibleaipolic|data_inspection"
    r"|inappropriate content|moderation.?blocked|safety.?violation|violat\w* (?:\w+ ){0,4}polic"
    r"|usage (?:polic|guideline)|requires moderation|flagged|safety (?:check|reason|system|filter)"
    r"|content exists risk|high.?risk|sensitive (?:content|word|information)|unsafe content"
    r"|guardrail|prohibited content|blocked by (?:the )?(?:safety|polic|content)"
    r"|敏感|违规|不安全|不当内容|有害|風險|高风险|安全审核|审核未通过|不適切|ポリシー違反|유해|부적절"
    r"|contenido inapropiado|política de contenido|contenu inapproprié|politique de contenu"
    r"|unangemessene inhalt|inhaltsrichtlinie|политик\w* (?:контента|использования)|недопустим",
    re.IGNORECASE,
)
# 1113 is Zhipu's, Arrearage DashScope's, exceeded_current_quota_error Moonshot's.
QUOTA_CODES = frozenset(
    "insufficient_quota insufficient_balance insufficient_credits insufficient_funds"
    " payment_required billing_hard_limit_reached billing_not_active billing_error arrearage"
    " exceeded_current_quota_error exceeded_current_quota account_deactivated credit_limit_reached"
    " accountoverdueerror account_overdue quota_exhausted balance_insufficient out_of_credits"
    " allocationquota.freetieronly budget_exceeded insufficient_user_quota 1113 1008"
    " credits_exhausted spending_limit_reached insufficient_account_balance".split()
)
QUOTA_WORDS = re.compile(
    r"(?:insufficient|not enough|low|no|zero|negative|without|exceed\w*|used (?:all|up)|out of|exhausted"
    r"|run out of|ran out of|does(?:n't| not) have any) (?:\w+ ){0,4}(?:credit|balance|fund|quota)s?"
    r"|(?:credit|balance|fund|quota|prepaid)s? (?:\w+ ){0,4}(?:insufficient|too low|exhaust|deplet|exceed"
    r"|used up|has run out|have run out|is (?:zero|negative|0))|check your plan and billing|\bbilling (?:details|account|page|settings|issue|problem|period|cycle)"
    r"|(?:recharge|top.?up) (?:your|the|to|and|account|now)|please recharge|payment (?:is )?required"
    r"|(?:spend\w*|monthly|usage|budget|hard|credit) limit|in arrears|overdue|requires more credits"
    r"|exceeded (?:your |the )?(?:\w+ ){0,3}(?:quota|credits|budget|spend)|budget (?:has been )?exceeded"
    r"|good standing|(?:credit|balance|fund|quota)s? (?:is |are )?not enough"
    r"|余额不足|餘額不足|余额|欠费|欠費|充值|资源包|额度(?:不足|已用|用尽|耗尽)|残高|クレジット(?:が)?不足|チャージ"
    r"|(?:allowance|package|trial|subscription|plan|bundle|tier)s? (?:\w+ ){0,6}(?:exhaust\w*|deplet\w*|exceed\w*"
    r"|used up|consumed|run out|expired|ended|over|inactive|lapsed|cancel\w*)\b"
    r"|(?:exceeded|exhausted|used (?:all|up)|consumed|expired|spent|without an? (?:active|valid)) (?:\w+ ){0,4}"
    r"(?:allowance|allocation|package|trial|subscription|bundle)"
    r"|\b(?:no|zero|0) (?:more |remaining |available |further )+(?:\w+ )?(?:token|request|call|unit|message)s?\b"
    r"|\b(?:no|zero|0) (?:\w+ )?(?:token|request|call|unit|message)s? (?:\w+ ){0,2}(?:left|remaining|available)\b"
    r"|(?:token|request|call|unit|message)s? (?:\w+ ){0,4}(?:used up|exhausted|depleted|all used|have run out)"
    r"|(?:used|consumed|spent) (?:up )?all (?:\w+ ){0,4}(?:token|request|call|unit|message)s?\b"
    r"|(?:daily|weekly|monthly|yearly|annual|lifetime|trial|plan|free) (?:\w+ ){0,3}(?:limit|allowance|cap|maximum)"
    r"|(?:add|buy|purchase|top up|get) (?:\w+ ){0,3}credits?\b|(?:renew|activate|resume) (?:\w+ ){0,2}(?:subscription|plan)"
    r"|(?:credit|balance|fund|quota)s? (?:\w+ ){0,4}expired|non.?payment|unpaid|past due"
    r"|(?:insufficient|out of|run out of) (?:\w+ ){0,2}(?:token|request|call|unit|message)s?\b"
    r"|(?:daily|weekly|monthly) (?:\w+ ){0,2}(?:spend|budget|quota)"
    r"|(?:plan|subscription|package|trial)(?:['’]s)? (?:\w+ ){0,3}(?:limit|allowance|cap|maximum)\b"
    r"|(?:maximum|limit|number) (?:\w+ ){0,5}(?:of|for|in) (?:your|the|this) (?:\w+ )?(?:plan|trial|subscription|package)\b"
    r"|upgrade (?:\w+ ){0,5}to (?:continue|keep|go on|proceed|get more)"
    r"|(?:quota|limit|allowance|again) (?:\w+ ){0,3}(?:tomorrow|next (?:day|week|month|billing|cycle))"
    r"|套餐.{0,6}(?:用完|用尽|耗尽|到期|过期|超)|试用.{0,6}(?:结束|到期|过期)|(?:次数|额度|配额|资源).{0,6}(?:用完|用尽|耗尽)"
    r"|잔액|크레딧.{0,6}(?:부족|소진)|충전"
    r"|saldo insu|sin saldo|sem saldo|saldo esgotado|recargue|recarga|fondos insuficientes"
    r"|solde insuffisant|crédits? insuffisant|crédits? épuisé|rechargez|credito (?:insufficiente|esaurito)"
    r"|guthaben|kontingent (?:\w+ )?(?:erschöpft|aufgebraucht)|aufladen|недостаточно средств"
    r"|баланс|пополните|исчерпан|yetersiz bakiye|bakiye|रिचार्ज|رصيد|số dư",
    re.IGNORECASE,
)
# Compared without separators: vendors write QuotaExceeded, quota_exceeded and QUOTA-EXCEEDED.
MONEY_CODES = re.compile(
    r"(?:insufficient|exceeded|exhausted|not?enough|no|low|empty|zero|outof|depleted)"
    r"(?:account|user|wallet)?(?:credit|balance|fund|wallet|money|budget)s?"
    r"|(?:credit|balance|fund|wallet|budget)s?(?:balance|limit|quota|cap)?(?:is)?(?:insufficient|toolow|low|empty"
    r"|zero|exhausted|depleted|exceeded|reached|expired|ranout|usedup|notenough|overdue)"
    r"|billing|payment(?:method)?(?:required|missing|failed|overdue|needed|due)|(?:no|missing)payment|overdue|arrear"
    r"|(?:spend|spending|hard|cost)(?:limit|cap)(?:reached|exceeded|hit)?"
    r"|(?:subscription|trial|plan)(?:required|expired|ended|inactive|missing|over|suspended|cancell?ed)"
)
LIMIT_CODES = re.compile(
    r"(?:quota|allowance|usagelimit|planlimit|triallimit|dailylimit|weeklylimit|monthlylimit|monthlyquota|usagecap)"
    r"(?:is)?(?:exceeded|exhausted|depleted|reached|usedup|hit|spent)"
    r"|(?:outof|exceeded|exhausted|no)(?:your)?(?:quota|allowance)|freetier(?:only|exhausted|exceeded)"
)
# Words that name money mean the account on any status.
MONEY_WORDS = re.compile(
    r"\b(?:insufficient|not enough|low|no|zero|negative|out of|run out of|ran out of|exhausted|lacks?|depleted"
    r"|used (?:all|up)|exceed(?:s|ed)?|(?:not|n['’]t) (?:\w+ )?(?:any|enough|sufficient)|consumed|spent)"
    r" (?:(?:\w+|['’]s) ){0,4}(?:credits?|(?<!load )balance|funds?|money|prepaid \w+)\b(?! cards?)"
    r"|\b(?:credits?|(?<!load )balance|funds?|wallet|prepaid \w+) (?:(?:\w+|['’]s) ){0,4}(?:insufficient|too low|exhausted"
    r"|depleted|used up|(?:ran|run) (?:out|dry)|(?:is|are|at) (?:zero|negative|0|empty|gone|spent|low)|empty|not enough|expired)\b"
    r"|\btrial (?:is |has |period )*(?:over|ended|expired)\b|wallet empty|empty wallet|\b(?:spend\w*|budget|cost) (?:limit|cap|ceiling)\b"
    r"|\bbudget (?:\w+ ){0,3}(?:exceeded|exhausted|used up|spent|depleted)|exceeded (?:\w+ ){0,3}(?:budget|spend\w*)\b"
    r"|payment (?:is )?(?:required|needed|overdue|due|failed)|payment method|(?:add|valid|missing|no) (?:\w+ ){0,3}credit card"
    r"|(?:outstanding|unpaid|overdue|open|past.due) (?:\w+ ){0,2}(?:invoice|bill|payment|balance|amount)s?\b(?! fraud)"
    r"|invoices? (?:\w+ ){0,3}(?:unpaid|outstanding|overdue|past due)|non.?payment|in arrears|(?:account|payment|balance) (?:is )?(?:past due|overdue)|card (?:was |is )?(?:declined|expired)"
    r"|check your plan and billing|billing (?:\w+ ){0,3}(?:disabled|not (?:active|enabled)|inactive|required|hard limit|limit)"
    r"|(?:enable|set ?up|activate) (?:\w+ ){0,2}billing|(?:recharge|top.?up) (?:your|the|and) (?:\w+ )?(?:account|balance|wallet|credits?)"
    r"|please recharge|requires more credits|(?:add|buy|purchase) (?:\w+ ){0,3}credits?\b"
    r"|余额不足|餘額不足|余额(?:为|已)|欠费|欠費|请充值|残高(?:が)?(?:不足|足り)|クレジット(?:が)?(?:不足|切れ)|잔액.{0,4}부족|크레딧.{0,6}(?:부족|소진)"
    r"|saldo (?:insu\w+|agotado|esgotado)|(?:sin|sem) saldo|(?:fondos|créditos?) (?:insuficientes|agotados?)"
    r"|(?:agot\w+|acab\w+) (?:\w+ ){0,2}(?:saldo|créditos?|presupuesto|fondos)"
    r"|(?:solde|crédits?) (?:est |sont )?(?:insuffisant|épuisé)|(?:budget|forfait) (?:est )?(?:épuisé|dépassé)"
    r"|credito (?:\w+ )?(?:insufficiente|esaurito)|(?:guthaben|budget) (?:ist |sind )?(?:\w+ )?(?:erschöpft|aufgebraucht|leer|verbraucht)"
    r"|недостаточно средств|yetersiz bakiye",
    re.IGNORECASE,
)
# "Limit" and "quota" may also mean a rate, so they count only on the statuses of `QUOTA_STATUSES`.
MORE_QUOTA_WORDS = re.compile(
    r"\b(?:key|account|total|plan|usage|organi[sz]ation|project|user) limit (?:\w+ ){0,3}(?:exceeded|reached|hit)\b"
    r"|(?:reached|hit|exceeded) (?:\w+ ){0,3}(?:key|account|total|plan|usage) (?:limit|cap)\b"
    r"|(?:daily|weekly|monthly|yearly|annual|lifetime) (?:\w+ ){0,2}cap\b|prepaid (?:\w+ ){0,2}allotment"
    r"|(?:quota|limit|allotment|allocation|allowance) (?:\w+ ){0,3}(?:exhausted|depleted|used up|all gone|gone)\b"
    r"|(?:subscription|plan) (?:is )?(?:required|needed)|account (?:\w+ ){0,3}suspended|trial (?:\w+ )?(?:over|ended|expired)"
    r"|(?:kontingent|quote|limit) (?:ist |wurde )?(?:\w+ )?(?:erschöpft|aufgebraucht|ausgeschöpft|verbraucht|überschritten|erreicht)"
    r"|(?:quota|limite|allocation|forfait) (?:\w+ ){0,3}(?:épuisée?|dépassée?|atteinte?)"
    r"|(?:agot\w+|super\w+|exced\w+|alcanz\w+) (?:\w+ ){0,2}(?:cuota|límite|cupo)|(?:cuota|cupo|límite) (?:\w+ ){0,3}(?:agotad|superad|excedid|alcanzad)"
    r"|(?:cota|limite) (?:\w+ ){0,3}(?:esgotad|excedid|atingid)|quota (?:\w+ ){0,3}(?:esaurit|superat)"
    r"|(?:квота|лимит) (?:\w+ ){0,3}(?:исчерпан|превышен)|利用枠|使い切|停用|配额|額度",
    re.IGNORECASE,
)
# Of Google's `quotaId` and of codes such as `Throttling.AllocationQuota`, without separators.
LONG_QUOTA_CODES = re.compile(r"per(?:day|week|month|year)")
SHORT_QUOTA_CODES = re.compile(r"per(?:minute|second)")
RATE_CODES = re.compile(r"throttl|ratequota|burst|capacity|overload|concurren|busy")
# A safety check may mention money, so that a control request has to decide.
CONTENT_WORDS = re.compile(
    r"\bcontent\b(?!.type)|violat|\brules\b|\btopics?\b|harmful|unsafe|inappropriate|fraud"
    r"|(?:request|prompt|message|question) (?:is )?(?:about|on|concern\w*|regarding|mention\w*|contain\w*|asks)\b",
    re.IGNORECASE,
)
QUOTA_STATUSES = frozenset({400, 401, 403, 412, 429})
# A limit per minute refills soon: Gemini and DashScope call it a quota.
RATE_UNIT_WORDS = re.compile(
    r"per.?(?:minute|second)|per \d+ ?(?:s|m|sec|min)\w*\b|(?<![a-z])(?:tpm|rpm|qps|rps|itpm|otpm)(?![a-z])|concurren|simultaneous"
    r"|(?:request|call|token|message)s? ?/ ?(?:min|s)|并发|每分钟|每秒",
    re.IGNORECASE,
)
SOON_WORDS = re.compile(
    r"too (?:quickly|fast)|slow down|throttl|频繁|稍后|\b(?:is|too|currently|server|model|system) busy\b|\bpeak\b"
    r"|overload|high (?:load|demand|traffic)|(?:this|current|sliding|time|rate) window|\bcapacity\b"
    r"|acceleration|ramp.?up|scale up|gradual|\bburst|temporarily (?:rate|limited|unavailable|overload)"
    r"|(?<!free )allocated quota exceeded",
    re.IGNORECASE,
)
RETRY_WORDS = re.compile(r"(?:retry|try again) (?:in|after)|\bwait\b", re.IGNORECASE)
RATE_WORDS = re.compile(r"rate.?limit|too many requests", re.IGNORECASE)
# OpenRouter calls the limit of a day that payment lifts a rate limit.
LONG_LIMIT_WORDS = re.compile(
    r"per.?(?:day|week|month|year)|daily|weekly|monthly|yearly|trial|lifetime|allowance|credits"
    r"|tomorrow|next (?:day|week|month|billing|cycle)|\bfree (?:allocated|quota|tier)",
    re.IGNORECASE,
)
SHORT_WAIT_S = 3600.0
"""A wait from which a limit counts as a used-up quota: windows of rates are minutes."""
CONTEXT_CODES = frozenset(
    "context_length_exceeded string_above_max_length exceed_context_size_error"
    " context_window_exceeded contextwindowexceedederror prompt_too_long"
    " model_context_window_exceeded max_tokens_exceeded 1261".split()
)
CONTEXT_WORDS = re.compile(
    r"context (?:length|window|size|limit)|maximum context|max(?:imum)?_?context|prompt (?:is )?too long"
    r"|(?:input|prompt|sequence) (?:\w+ ){0,3}(?:too long|exceeds?|longer than)|exceeds? the (?:available )?context"
    r"|range of input length|max_new_tokens|too many (?:input )?tokens|token (?:count|limit)s? (?:\w+ ){0,3}exceed"
    r"|max_model_len|n_ctx|上下文|输入(?:长度|过长)|超过.{0,8}(?:长度|token)|コンテキスト|컨텍스트",
    re.IGNORECASE,
)
FORMAT_WORDS = re.compile(
    r"response_format|json_?schema|json schema|json_object|guided_json|structured.?output"
    r"|guided decoding|grammar|xgrammar|outlines|response schema|response_schema",
    re.IGNORECASE,
)
MAX_TOKENS_WORDS = re.compile(
    r"max(?:imum)?_?(?:completion_|new_|output_)?tokens?\b", re.IGNORECASE
)
SYSTEM_WORDS = re.compile(
    r"system.{0,20}(?:role|message|instruction|turn|prompt)|(?:role|roles).{0,40}\bsystem\b"
    r"|roles must alternate|developer instruction|conversation roles",
    re.IGNORECASE,
)
STREAM_WORDS = re.compile(r"\bstream(?:ing|s)?\b|enable_thinking|incremental_output", re.IGNORECASE)
TEMPERATURE_WORDS = re.compile(r"\b(temperature|top_p|seed|top_k|n|stop|logprobs)\b")
MODEL_WORDS = re.compile(
    r"model.{0,80}(?:not (?:found|exist|available|supported)|does not exist|unknown|invalid"
    r"|no longer|deprecated|decommissioned|pull it)|(?:unknown|invalid|no such) model"
    r"|模型.{0,10}(?:不存在|无效)",
    re.IGNORECASE | re.DOTALL,
)

MAX_OWN_CHARS = 400
"""A longer message quotes the request."""
MAX_LONG_CHARS = 4_000
LONG_QUOTE = re.compile(
    r"""\"[^"]{40,}\"|(?<!\w)'[^']{40,}'(?!\w)|`[^`]{40,}`|“[^”]{40,}”|«[^»]{40,}»|「[^」]{40,}」|\{.{40,}\}""",
    re.DOTALL,
)


def strip_echo(message: str) -> str:
    """Return a message without the parts that may repeat the request: long quotations and the end."""
    return LONG_QUOTE.sub(" ", message)[:MAX_OWN_CHARS]


def hide_quotes(message: str) -> str:
    """Return a long message without the quotations that may repeat the request."""
    return LONG_QUOTE.sub(" ", message[:MAX_LONG_CHARS])


def is_content_policy(codes: Iterable[str], message: str) -> bool:
    """Check if an error names a content policy or a safety check."""
    return any(code.lower() in POLICY_CODES for code in codes) or bool(POLICY_WORDS.search(message))


def is_quota(
    codes: Iterable[str], message: str, *, status: int | None, wait_s: float | None = None
) -> bool:
    """Check if an error means that the balance or the quota of the account is used up.

    A limit that clears within minutes is a rate limit instead.

    Args:
        codes: codes and types of the error.
        message: the provider's words without the quoted prompt.
        status: the HTTP status; None if only the body is an error.
        wait_s: seconds that the headers ask to wait.
    """
    known = {code.lower() for code in codes}
    if status == 402 or known & QUOTA_CODES:
        return True
    names = {"".join(c for c in code if c.isalnum()) for code in known if " " not in code}
    # Google states a short wait for the quota of a day, too.
    if any(MONEY_CODES.search(name) or LONG_QUOTA_CODES.search(name) for name in names):
        return True
    stated_s = read_stated_wait(message)
    waits = [s for s in (wait_s, stated_s) if s is not None]
    if status == 429 and waits and max(waits) < SHORT_WAIT_S:
        return False
    if status in (400, 413, 422) and _is_plain_overflow(known, message):
        return False
    if status in (400, 403, 422) and CONTENT_WORDS.search(message):
        return False
    if any(SHORT_QUOTA_CODES.search(name) for name in names):
        return False
    if MONEY_WORDS.search(message) and not RATE_UNIT_WORDS.search(message):
        return True
    is_rate = status == 429 and any(RATE_CODES.search(name) for name in names)
    if _is_soon(message, stated_s) or (is_rate and not LONG_LIMIT_WORDS.search(message)):
        return False
    has_limit_code = any(LIMIT_CODES.search(name) for name in names)
    return has_limit_code or (status in QUOTA_STATUSES and _has_quota_words(message))


def _has_quota_words(message: str) -> bool:
    return bool(QUOTA_WORDS.search(message) or MORE_QUOTA_WORDS.search(message))


def _is_plain_overflow(codes: Iterable[str], message: str) -> bool:
    return is_context_overflow(codes, message) and not (
        LONG_LIMIT_WORDS.search(message) or MONEY_WORDS.search(message)
    )


def _is_soon(message: str, stated_s: float | None) -> bool:
    if stated_s is not None:
        return stated_s < SHORT_WAIT_S
    if RATE_UNIT_WORDS.search(message) or SOON_WORDS.search(message):
        return True
    is_rate = RETRY_WORDS.search(message) or RATE_WORDS.search(message)
    return bool(is_rate) and not LONG_LIMIT_WORDS.search(message)


def is_context_overflow(codes: Iterable[str], message: str) -> bool:
    """Check if an error says that prompt and answer exceed the model's context."""
    return any(code.lower() in CONTEXT_CODES for code in codes) or bool(
        CONTEXT_WORDS.search(message)
    )


def suggest_fix(message: str) -> str:
    """Return the remedy for a rejected request; a general one if the words are unknown."""
    if "max_completion_tokens" in message and not is_context_overflow((), message):
        return "set `max_completion_tokens` instead of `max_tokens`"
    for words, remedy in (
        (CONTEXT_WORDS, "lower `max_tokens`, or serve the model with a longer context"),
        (SYSTEM_WORDS, "the model takes no system turn: set `fold_system: true`"),
        (MODEL_WORDS, "check `model`"),
        (FORMAT_WORDS, "set `structured` to `auto` or `text`"),
        (STREAM_WORDS, "set the provider's switch in `extra`, such as `enable_thinking: false`"),
        (MAX_TOKENS_WORDS, "lower or remove `max_tokens`"),
    ):
        if words.search(message):
            return remedy
    parameter = TEMPERATURE_WORDS.search(message)
    if parameter:
        return f"remove or change `{parameter[1]}` in the teacher's parameters"
    return "check the teacher's parameters in the recipe"
