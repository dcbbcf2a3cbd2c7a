"""Units for other data than pixels: word counts, a table of mixed columns with holes, and a wide sparse matrix.

Run it from anywhere: `python examples/unit_types.py`. It takes half a minute on two cores.
"""

import inspect
import resource
import warnings
from importlib import import_module

import numpy as np
from scipy import sparse
from sklearn.datasets import load_diabetes
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.model_selection import cross_val_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import KBinsDiscretizer, StandardScaler

from pretrain import RBMTransformer

rng = np.random.default_rng(0)

# Word counts ---
# The documents are the docstrings of scikit-learn's public classes and functions, the topics its modules.
texts, topics = [], []
for module in ("cluster", "decomposition", "ensemble", "linear_model", "metrics", "model_selection", "preprocessing"):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        public = inspect.getmembers(import_module(f"sklearn.{module}"))
    documented = [thing for name, thing in public if not name.startswith("_") and callable(thing) and thing.__doc__]
    texts += [thing.__doc__ for thing in documented]
    topics += [module] * len(documented)
counts = CountVectorizer(max_features=1000, stop_words="english").fit_transform(texts).astype(np.float32)
words = RBMTransformer(
    50, visible_units="replicated_softmax", initial_visible_bias="data", n_iter=200, random_state=0
).fit(counts)
nearest = KNeighborsClassifier(5, metric="cosine")
print(
    f"{counts.shape[0]} docstrings of {counts.sum(axis=1).mean():.0f} words on average, {counts.shape[1]} words known"
)
for name, features in (("counts", counts), ("RBM features", words.transform(counts))):
    print(f"  topic by the 5 nearest, {name}: {cross_val_score(nearest, features, topics, cv=5).mean():.3f}")

# A table of mixed columns, a fifth of them missing ---
table = load_diabetes(scaled=False)
age, sex, numbers = table.data[:, :1], table.data[:, 1:2] - 1, StandardScaler().fit_transform(table.data[:, 2:])
decades = KBinsDiscretizer(4, encode="onehot-dense", quantile_method="averaged_inverted_cdf").fit_transform(age)
mixed = np.hstack([sex, numbers, decades])
holes = rng.random(mixed.shape) < 0.2
holes[:, 9:] = holes[:, 9:10]  # a category is missing as a whole
known = np.where(holes, np.nan, mixed)
rbm = RBMTransformer(
    60, visible_units="bernoulli:1+gaussian_learned:8+softmax:4", missing="gibbs", n_iter=200, random_state=0
).fit(known)
filled = rbm.impute(known)
means = np.broadcast_to(np.nanmean(known, axis=0), mixed.shape)
print(f"a table of {len(mixed)} rows: a binary column, eight numbers, a category of four; {holes.mean():.0%} missing")
for name, guess in (("column means", means), ("the RBM", filled)):
    wrong = guess - mixed
    error = np.sqrt((wrong[:, 1:9][holes[:, 1:9]] ** 2).mean())
    category = (guess[:, 9:].argmax(axis=1) == mixed[:, 9:].argmax(axis=1))[holes[:, 9]].mean()
    print(f"  filled by {name}: numbers to {error:.2f} standard deviations, categories {category:.0%} right")

# A sparse matrix that would be 1.6 GB if it were dense ---
n, n_entries = 20_000, 400_000
wide = sparse.csr_matrix(
    (np.ones(n_entries, dtype=np.float32), (rng.integers(n, size=n_entries), rng.integers(n, size=n_entries))), (n, n)
)
wide.data[:] = 1
sparse_rbm = RBMTransformer(128, random_state=0)
for start in range(0, n, 5_000):
    sparse_rbm.partial_fit(wide[start : start + 5_000])
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(f"a sparse matrix of {n:,} x {n:,} through partial_fit: peak memory of this whole script {peak:,.0f} MB")
