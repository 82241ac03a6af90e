"""Write `safegen/core/language_model.npz` from the model of the installed py3langid.

Run it when the list of languages changes: python -m tests.core.build_language_model
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from safegen.core import _language_model as language_model
from safegen.core.language_id import COMMON_LANGUAGES, OTHER_SCRIPTS


def full_model() -> Any:
    from py3langid import langid

    model: Any = langid.LanguageIdentifier.from_model_file(langid.MODEL_FILE, norm_probs=True)
    model.set_languages(sorted({*COMMON_LANGUAGES, *OTHER_SCRIPTS}))
    return model


def write_model(path: Path) -> None:
    """Store the trie of all sequences, in order of their length, and the weights that differ."""
    model = full_model()
    states, last_bytes, children = _trie(model)
    features = np.asarray(model.tk_output)[states]
    _, firsts = np.unique(features, return_index=True)
    # A feature belongs to the shortest sequence; longer ones that only end in it inherit it.
    is_feature = np.zeros(len(states), dtype=bool)
    is_feature[firsts] = True
    is_feature &= features >= 0
    weights = np.ascontiguousarray(model.nb_ptc)[features[is_feature]]
    distinct, rows = np.unique(weights, axis=0, return_inverse=True)
    np.savez_compressed(
        path,
        languages=np.array(model.nb_classes),
        priors=model.nb_pc,
        weights=np.ascontiguousarray(distinct.T),
        weight_rows=rows.ravel().astype(np.uint16),
        bytes=last_bytes.astype(np.uint8),
        children=children.astype(np.uint8),
        is_feature=is_feature,
    )


def _trie(model: Any) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Walk the automaton in breadth and return its states with their last byte and children."""
    table = np.asarray(model.tk_nextmove).reshape(-1, 256)
    rows = np.asarray(model.tk_row)
    seen = np.zeros(len(rows), dtype=bool)
    seen[0] = True
    level = np.array([0])
    states, last_bytes, children = [level], [np.array([0])], list[Any]()
    while len(level):
        targets = table[rows[level]].ravel().astype(np.intp)
        places = np.flatnonzero(~seen[targets])
        _, firsts = np.unique(targets[places], return_index=True)
        places = places[np.sort(firsts)]
        children.append(np.bincount(places >> 8, minlength=len(level)))
        level = targets[places]
        seen[level] = True
        states.append(level)
        last_bytes.append(places & 255)
    return np.concatenate(states), np.concatenate(last_bytes), np.concatenate(children)


if __name__ == "__main__":
    write_model(language_model.FILE)
