"""The names, the version and the legal types of the file format. `FORMAT.md` is its specification.

How to change the format
------------------------
1. A change after which an old reader would still understand every file that it accepts needs no new version.
   There is hardly any: readers refuse what they do not know. A new kind of object (a layer kind, say) is such a
   change: old readers refuse its files by name. Add a codec, one row in its table, and a section in FORMAT.md.
2. A change to what one kind of object stores raises that kind's `version` in its codec, and its `kind_version`
   in the files. A change to the frame (this file, the digest, the history) raises `FORMAT_VERSION`.
3. The new reader keeps reading every older version: branch on the version where the group is checked, and
   convert while building. Never rewrite a user's file.
4. With the change, commit a tiny file of the new version as `tests/data/checkpoint_v<N>.h5` (of a kind:
   `tests/data/<kind>_v<N>.h5`), made by `tests/make_checkpoint.py`. The test that loads it stays for good.
5. Write the change into FORMAT.md ("Versions") and into CHANGELOG.md.
"""

import re

FORMAT = "pretrain-checkpoint"
FORMAT_VERSION = 3

# Attributes of the root group.
ROOT_ATTRIBUTES = ("format", "format_version", "kind", "created_by", "digest")
DIGEST = "digest"  # of the dataset of digests; in version 1, of everything

# Groups and datasets under the root.
STACK = "stack"
NETWORK = "network"
IMAGE_NETWORK = "image_network"
DBN = "dbn"
DBM = "dbm"
ESTIMATOR = "estimator"
HISTORY = "history"
PROVENANCE = "provenance"
DIGESTS = "digests"  # since version 2: a JSON object, path to digest
TRAINING = "training"  # the state that an unfinished run is resumed from

# Attributes of every object's group. `config` is JSON text and present where the object has settings.
KIND = "kind"
KIND_VERSION = "kind_version"
CONFIG = "config"
COUNT = "count"

LIBRARY_VERSION = ("v110", "v110")  # fixed bounds: the same bytes from every HDF5 library, metadata checksummed
MAX_ATTRIBUTE_BYTES = 60_000  # HDF5 keeps an attribute in an object header message: 64 KiB at most
MAX_DEPTH = 8  # groups inside groups; the format itself needs 4
MAX_RECORDS = 10**6  # of a history: each takes memory even where no column holds a byte of it

# What an array may be made of. Text is fixed-length UTF-8, "S" here.
NUMERIC_DTYPES = ("<f4", "<f8", "|i1", "<i2", "<i4", "<i8", "|u1", "<u2", "<u4", "<u8")

# Names of history columns and of estimator attributes: what HDF5, MATLAB and Julia all take as a name.
LEGAL_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\-]{0,199}\Z")


def layer_name(index: int, count: int) -> str:
    """Name of a layer's group: "00", "01", ..., with more digits where 100 layers or more need them."""
    return f"{index:0{max(2, len(str(count - 1)))}d}"
