"""Fifty labels and 1,387 rows without: `y == -1` marks a row that pretrains and does not fine-tune.

Run it from anywhere: `python examples/02_few_labels.py`. It takes about ten seconds on two cores.
"""

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from pretrain import DBNClassifier, ScratchClassifier

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.2, stratify=y, random_state=0)

labelled, _ = train_test_split(np.arange(len(y_train)), train_size=50, stratify=y_train, random_state=0)
y_few = np.full_like(y_train, -1)
y_few[labelled] = y_train[labelled]

pretrained = DBNClassifier((256, 256), random_state=0).fit(X_train, y_few)
scratch = ScratchClassifier("relu", (256, 256), random_state=0).fit(X_train[labelled], y_train[labelled])

print(f"pretrained on all rows, 50 labels: {pretrained.score(X_test, y_test):.3f}")
print(f"ReLU from scratch on 50 labels:    {scratch.score(X_test, y_test):.3f}")
