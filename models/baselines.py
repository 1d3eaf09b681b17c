"""What TF-IDF and logistic regression reach on the same texts: the floor under the classifier's figures."""

from collections.abc import Sequence

import torch
from torch import Tensor

from models.data import GROUPS, MASKED, Example

SEED = 0


def emotion(train: Sequence[Example], texts: Sequence[str]) -> Tensor:
    """Probabilities [texts, 8, 4] as the heads give them, all of a group's presence in one column; 0 if never seen."""
    from sklearn.linear_model import LogisticRegression

    train_rows, rows = _features([example.text for example in train], texts)
    probabilities = torch.zeros(len(texts), len(GROUPS), 4)
    probabilities[..., 0] = 1
    for i in range(len(GROUPS)):
        known = [n for n, example in enumerate(train) if example.emotion[i] != MASKED]
        truth = [train[n].emotion[i] > 0 for n in known]
        if any(truth):
            model = LogisticRegression(C=4, class_weight="balanced", max_iter=1000, random_state=SEED)
            model.fit(train_rows[known], truth)
            probabilities[:, i, 1] = torch.from_numpy(model.predict_proba(rows)[:, 1])
            probabilities[:, i, 0] = 1 - probabilities[:, i, 1]
    return probabilities


def risk(train: Sequence[Example], texts: Sequence[str]) -> Tensor:
    """Probabilities [texts, 5]."""
    from sklearn.linear_model import LogisticRegression

    train_rows, rows = _features([example.text for example in train], texts)
    model = LogisticRegression(C=4, class_weight="balanced", max_iter=1000, random_state=SEED)
    model.fit(train_rows, [example.risk for example in train])
    probabilities = torch.zeros(len(texts), 5)
    probabilities[:, model.classes_.tolist()] = torch.from_numpy(model.predict_proba(rows)).float()
    return probabilities


def _features(train: Sequence[str], texts: Sequence[str]):  # type: ignore[no-untyped-def]
    """Sparse rows of both: n-grams of 1 to 4 characters, which suit Chinese and English alike."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectoriser = TfidfVectorizer(
        analyzer="char_wb", ngram_range=(1, 4), min_df=2, max_features=60_000, sublinear_tf=True
    )
    return vectoriser.fit_transform(train), vectoriser.transform(texts)
