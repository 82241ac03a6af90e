"""TRL's trainers take the rewards and the views unchanged, on a tiny random model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

import safegen as sg

# The packages warn about options of their next versions.
pytestmark = [pytest.mark.trainers, pytest.mark.filterwarnings("default")]

RECIPE = """
name: trainers
taxonomy: core
policies: [security, deceit, violence, wellbeing, health, intimacy]
locales: [en]
plan: {candidates: 3, sets_per_harm: 1}
teachers: {drafter: offline}
views: [prompt_completion, preference]
output: out
"""
CHAT_TEMPLATE = (
    "{% for message in messages %}<|{{ message.role }}|>{{ message.content }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trl")
    (folder / "recipe.yaml").write_text(RECIPE, encoding="utf-8")
    run = sg.generate(folder / "recipe.yaml", output=folder / "out")
    return run.output


@pytest.fixture(scope="module")
def trl() -> Any:
    pytest.importorskip("torch", reason="torch is not installed; run `make test-trainers`")
    return pytest.importorskip("trl", reason="TRL is not installed; run `make test-trainers`")


def make_tokenizer() -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    special = ["<|pad|>", "<|end|>", "<|system|>", "<|user|>", "<|assistant|>"]
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    bytes_only = Tokenizer(models.BPE({letter: n for n, letter in enumerate(letters)}, merges=[]))
    bytes_only.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bytes_only.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bytes_only,
        pad_token="<|pad|>",
        eos_token="<|end|>",
        extra_special_tokens=special[2:],
    )
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer


def make_config(tokenizer: Any) -> Any:
    from transformers import Qwen2Config

    return Qwen2Config(
        vocab_size=len(tokenizer),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=4096,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )


def load_rows(dataset: Path, view: str, count: int) -> Any:
    from datasets import load_dataset

    rows = load_dataset(str(dataset), view, split="train")
    return rows.select(range(min(count, len(rows))))


def test_grpo_trainer_takes_the_rewards(trl: Any, dataset: Path, tmp_path: Path) -> None:
    from transformers import Qwen2ForCausalLM

    seen: list[Mapping[str, object]] = []

    async def judge(
        messages: object, response: str, columns: Mapping[str, object]
    ) -> sg.ResponseScores:
        seen.append(columns)
        return sg.ResponseScores(min(len(response) / 100, 1.0), "negligible")

    tokenizer = make_tokenizer()
    with sg.reward(judge) as reward, sg.reward(validator="length_bounds") as length:
        trainer = trl.GRPOTrainer(
            model=Qwen2ForCausalLM(make_config(tokenizer)),
            processing_class=tokenizer,
            reward_funcs=[reward.trl_async, reward.part("safety").trl_async, length.trl],
            train_dataset=load_rows(dataset, "prompt_completion", 4),
            args=trl.GRPOConfig(
                output_dir=str(tmp_path),
                per_device_train_batch_size=2,
                num_generations=2,
                max_completion_length=12,
                max_steps=2,
                logging_steps=1,
                use_cpu=True,
                report_to="none",
                save_strategy="no",
            ),
        )
        trainer.train()
    logged = [row for row in trainer.state.log_history if "rewards/reward/mean" in row]
    assert len(logged) == 2
    assert all(row["rewards/safety/mean"] == pytest.approx(0.75) for row in logged)
    assert all(0 <= row["rewards/length_bounds/mean"] <= 1 for row in logged)
    assert seen and all({"mode", "scenario_id"} <= set(columns) for columns in seen)


def test_reward_trainer_takes_the_pairs(trl: Any, dataset: Path, tmp_path: Path) -> None:
    from transformers import Qwen2ForSequenceClassification

    tokenizer = make_tokenizer()
    config = make_config(tokenizer)
    config.num_labels = 1
    trainer = trl.RewardTrainer(
        model=Qwen2ForSequenceClassification(config),
        processing_class=tokenizer,
        train_dataset=load_rows(dataset, "preference", 4),
        args=trl.RewardConfig(
            output_dir=str(tmp_path),
            per_device_train_batch_size=2,
            max_steps=2,
            logging_steps=1,
            max_length=1024,
            use_cpu=True,
            report_to="none",
            save_strategy="no",
        ),
    )
    trainer.train()
    losses = [row["loss"] for row in trainer.state.log_history if "loss" in row]
    assert len(losses) == 2
    assert all(loss > 0 for loss in losses)
