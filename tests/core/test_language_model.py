from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from safegen.core import _language_model as language_model, language_id
from tests.core.build_language_model import full_model, write_model

TEXTS = {
    "en": "The gardener keeps the bulbs in a dry box until the frost has gone.",
    "de": "Die Gärtnerin lagert die Zwiebeln in einer trockenen Kiste, bis der Frost vorbei ist.",
    "fr": "Le jardinier garde les bulbes dans une caisse sèche jusqu'à la fin du gel.",
    "es": "La jardinera guarda los bulbos en una caja seca hasta que pasa la helada.",
    "it": "Il giardiniere conserva i bulbi in una cassa asciutta finché passa il gelo.",
    "nl": "De tuinman bewaart de bollen in een droge kist tot de vorst voorbij is.",
    "pt": "O jardineiro guarda os bulbos numa caixa seca até que a geada passe.",
    "ru": "Садовник хранит луковицы в сухом ящике, пока не пройдут морозы.",
    "el": "Ο κηπουρός φυλάει τους βολβούς σε ξηρό κουτί μέχρι να περάσει ο παγετός.",
    "he": "הגנן שומר את הפקעות בקופסה יבשה עד שהכפור חולף.",
    "ar": "يحتفظ البستاني بالأبصال في صندوق جاف حتى ينتهي الصقيع.",
    "hi": "माली पाला खत्म होने तक कंदों को सूखे डिब्बे में रखता है।",
    "ja": "庭師は霜が終わるまで球根を乾いた箱に入れておきます。",
    "ko": "정원사는 서리가 끝날 때까지 구근을 마른 상자에 보관합니다.",
    "th": "คนสวนเก็บหัวไว้ในกล่องแห้งจนกว่าน้ำค้างแข็งจะหมดไป",
    "zh": "园丁把球茎放在干燥的盒子里，直到霜冻结束。",
}
ODD = [
    "",
    " ",
    "1234 5678",
    "THE BULBS STAY DRY UNTIL SPRING",
    "e\u0301te\u0301 a\u0300 la mer",
    "Ogrodnik trzyma cebulki w suchym pudełku, aż minie mróz.",
    "lone \ud800 surrogate",
    "💡🌱 🌷",
]
MIXED = [f"{first} {second}" for first in TEXTS.values() for second in list(TEXTS.values())[:4]]


def test_shares_equal_those_of_the_full_model() -> None:
    small, full = language_model.load_language_model(), full_model()
    for text in [*TEXTS.values(), *ODD, *MIXED]:
        assert dict(small.rank(text)) == dict(full.rank(text)), text


@pytest.mark.parametrize("language", TEXTS)
def test_each_common_language_is_identified(language: str) -> None:
    shares = language_id.language_shares(TEXTS[language], language)
    assert max(shares, key=lambda tag: shares[tag]) == language


def test_rare_language_is_identified_by_the_full_model() -> None:
    shares = language_id.language_shares(ODD[5], "pl")
    assert max(shares, key=lambda tag: shares[tag]) == "pl"


def test_common_languages_do_not_import_the_full_model(monkeypatch: pytest.MonkeyPatch) -> None:
    language_id.release_models()
    monkeypatch.setitem(sys.modules, "py3langid.langid", None)
    assert language_id.language_shares(TEXTS["en"], "en")


def test_shipped_model_is_what_the_script_writes(tmp_path: Path) -> None:
    write_model(tmp_path / "model.npz")
    with np.load(tmp_path / "model.npz") as written, np.load(language_model.FILE) as shipped:
        assert written.files == shipped.files
        for name in written.files:
            assert np.array_equal(written[name], shipped[name]), name
