"""How a legal checkpoint file becomes a damaged or hostile one, for `fuzz_checkpoints.py`."""

import contextlib
import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from checkpoints.codecs import put_digests
from checkpoints.reading import read_tree
from checkpoints.tree import BackgroundDigests, digest_of_version_1, digests_of_version_2

INTEGERS = (0, 1, -1, 2, 3, 99, 1000, 2**31 - 1, 2**31, 2**53 + 1, 2**63 - 1, -(2**63))
TEXTS = (b"", b"\xff\xfe", b"{}", b"[]", b"stack", b"network", b"rbm", b"__import__", b"9" * 5000, b"[" * 30_000)
VALUES: tuple[Any, ...] = (
    *INTEGERS, 10**30, 1e308, 0.5, -0.0, True, False, None, "", "x", "é\ud800", "sigmoid:2+softmax:99999999999", [],
    [[]], {}, {"tuple": []}, {"tuple": 3}, {"float": "nan"}, ["sigmoid"] * 1000, [1] * 2000,
)  # fmt: skip
DTYPES = ("<f4", "<f8", ">f4", "<i8", "<i4", "|u1", "<f2", "S3", "<c8", "|b1")


def mutate(source: Path, other: Path, path: Path, rng: random.Random, *, note: Path) -> tuple[str, bool]:
    """Write a changed copy of `source` to `path`: what was done, and whether the digests were made anew.

    The name of the mutation is in `note` before the file is touched, for the case that it crashes the process.
    """
    if rng.random() < 0.5:
        name = rng.choice(list(BYTES))
        note.write_text(name)
        path.write_bytes(BYTES[name](bytearray(source.read_bytes()), other.read_bytes(), rng))
        return name, False
    shutil.copy(source, path)
    names = rng.choices(list(STRUCTURES), k=rng.choice((1, 1, 1, 2, 3)))
    note.write_text(", ".join(names))
    with h5py.File(path, "r+", libver=("v110", "v110")) as file:
        for name in names:
            # An earlier change may have taken what this one wants, or claim more than memory holds.
            with contextlib.suppress(KeyError, ValueError, TypeError, OSError, RuntimeError, MemoryError):
                STRUCTURES[name](file, rng)
    forged = rng.random() < 0.8 and forge(path)
    return ", ".join(names), forged


def forge(path: Path) -> bool:
    """Give the file the digests of its changed content, as its version has them; False where it is beyond that."""
    try:
        root = read_tree(path, lambda header: None)
        version = root.attributes.get("format_version")
        root.datasets.pop("digests", None)
        if version == 1:
            root.attributes["digest"] = digest_of_version_1(root)
        elif version == 2:
            put_digests(root, digests_of_version_2(root))
        else:
            with BackgroundDigests() as background:
                background.begin(root)
                put_digests(root, background.of(root))
        with h5py.File(path, "r+") as file:
            if "digests" in root.datasets:
                replace(file, "digests", root.datasets["digests"])
            file.attrs.create("digest", fixed(str(root.attributes["digest"]).encode()))
    except Exception:
        return False
    return True


def fixed(value: bytes) -> Any:
    """Fixed-length UTF-8."""
    return np.array(value, dtype=h5py.string_dtype("utf-8", max(1, len(value))))


def replace(file: h5py.File, name: str, data: Any, **options: Any) -> None:
    """Put another dataset in the place of one."""
    if name in file:
        del file[name]
    if isinstance(data, np.ndarray) and data.dtype.kind == "S":
        data = data.astype(h5py.string_dtype("utf-8", data.dtype.itemsize))
    file.create_dataset(name, data=data, **options)


# Changes of bytes: (content, another file, generator) -> content


def flip_bits(content: bytearray, other: bytes, rng: random.Random) -> bytes:
    """From one bit to sixteen."""
    for _ in range(rng.choice((1, 1, 2, 4, 16))):
        content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    return bytes(content)


def flip_metadata(content: bytearray, other: bytes, rng: random.Random) -> bytes:
    """Bytes near one of HDF5's own signatures."""
    marks = (b"OHDR", b"OCHK", b"FRHP", b"FHDB", b"BTHD", b"BTLF", b"\x89HDF", b"FAHD", b"EAHD")
    places = [k for mark in marks for k in find_all(bytes(content), mark)]
    start = rng.choice(places or [0])
    for _ in range(rng.choice((1, 2, 4))):
        content[min(start + rng.randrange(120), len(content) - 1)] = rng.choice((0, 1, 0x7F, 0x80, 0xFF))
    return bytes(content)


def find_all(content: bytes, mark: bytes) -> list[int]:
    """Where a mark stands."""
    found, start = [], content.find(mark)
    while start >= 0:
        found.append(start)
        start = content.find(mark, start + 1)
    return found


def fix_checksums(content: bytearray, other: bytes, rng: random.Random) -> bytes:
    """Change a number of an object header and give the header its checksum: HDF5 then believes it."""
    heads = [k for k in find_all(bytes(content), b"OHDR") if k + 16 < len(content)]
    start = rng.choice(heads)
    flags = content[start + 5]
    width = 1 << (flags & 3)
    size_at = start + 6 + (16 if flags & 0x20 else 0) + (4 if flags & 0x10 else 0)
    size = int.from_bytes(content[size_at : size_at + width], "little")
    end = size_at + width + size
    if end + 4 > len(content):
        return bytes(content)
    for _ in range(rng.choice((1, 1, 2, 3))):
        place = rng.randrange(size_at + width, end)
        content[place] = rng.choice((0, 1, 2, 8, 0x7F, 0x80, 0xFE, 0xFF, rng.randrange(256)))
    content[end : end + 4] = lookup3(bytes(content[start:end])).to_bytes(4, "little")
    return bytes(content)


def lookup3(data: bytes) -> int:
    """Jenkins' lookup3 hash, HDF5's checksum of metadata."""
    mask = 0xFFFFFFFF

    def turn(x: int, k: int) -> int:
        return ((x << k) | (x >> (32 - k))) & mask

    a = b = c = (0xDEADBEEF + len(data)) & mask
    position, length = 0, len(data)
    while length > 12:
        a, b, c = (
            (v + int.from_bytes(data[position + 4 * k : position + 4 * k + 4], "little")) & mask
            for k, v in enumerate((a, b, c))
        )
        a = ((a - c) & mask) ^ turn(c, 4)
        c = (c + b) & mask
        b = ((b - a) & mask) ^ turn(a, 6)
        a = (a + c) & mask
        c = ((c - b) & mask) ^ turn(b, 8)
        b = (b + a) & mask
        a = ((a - c) & mask) ^ turn(c, 16)
        c = (c + b) & mask
        b = ((b - a) & mask) ^ turn(a, 19)
        a = (a + c) & mask
        c = ((c - b) & mask) ^ turn(b, 4)
        b = (b + a) & mask
        position, length = position + 12, length - 12
    if length == 0:
        return c
    tail = data[position:].ljust(12, b"\0")
    a, b, c = ((v + int.from_bytes(tail[4 * k : 4 * k + 4], "little")) & mask for k, v in enumerate((a, b, c)))
    for first, k in (("c", 14), ("a", 11), ("b", 25), ("c", 16), ("a", 4), ("b", 14), ("c", 24)):
        if first == "c":
            c = ((c ^ b) - turn(b, k)) & mask
        elif first == "a":
            a = ((a ^ c) - turn(c, k)) & mask
        else:
            b = ((b ^ a) - turn(a, k)) & mask
    return c


def overwrite(content: bytearray, other: bytes, rng: random.Random) -> bytes:
    """A stretch of zeros, ones or noise."""
    start, n = rng.randrange(len(content)), rng.choice((1, 8, 64, 512, 4096))
    filling = rng.choice((b"\0" * n, b"\xff" * n, rng.randbytes(n)))
    content[start : start + n] = filling[: len(content) - start]
    return bytes(content)


def cut(content: bytearray, other: bytes, rng: random.Random) -> bytes:
    """The end is lost, or a piece of the middle."""
    start = rng.randrange(len(content))
    return bytes(content[:start] + (b"" if rng.random() < 0.7 else content[start + rng.randrange(1, 999) :]))


def lengthen(content: bytearray, other: bytes, rng: random.Random) -> bytes:
    """Something is put in or behind."""
    start = rng.choice((len(content), rng.randrange(len(content)), 0))
    return bytes(content[:start] + rng.randbytes(rng.choice((1, 512, 4096))) + content[start:])


def splice(content: bytearray, other: bytes, rng: random.Random) -> bytes:
    """The beginning of one file and the end of another."""
    return bytes(content[: rng.randrange(len(content))]) + other[rng.randrange(len(other)) :]


BYTES: dict[str, Callable[[bytearray, bytes, random.Random], bytes]] = {
    function.__name__: function
    for function in (flip_bits, flip_metadata, fix_checksums, overwrite, cut, lengthen, splice)
}


# Changes of structure: (file, generator)


def members(file: h5py.File, kind: type) -> list[str]:
    """Paths of all groups or of all datasets but the digests."""
    found: list[str] = ["/"] if kind is h5py.Group else []
    file.visititems(lambda name, node: found.append(name) if isinstance(node, kind) and name != "digests" else None)
    return found


def change_dataset(file: h5py.File, rng: random.Random) -> None:
    """Another type, shape, or values."""
    name = rng.choice(members(file, h5py.Dataset))
    values = file[name][()]
    shape = rng.choice(((), (0,), (1,), (3, 5), (5, 7), (2,), np.shape(values), np.shape(values)[::-1], (1,) * 30))
    dtype = rng.choice((*DTYPES, np.asarray(values).dtype, np.asarray(values).dtype))
    replace(file, name, np.resize(np.asarray(values), shape).astype(dtype))


def change_values(file: h5py.File, rng: random.Random) -> None:
    """One number of a dataset."""
    dataset = file[rng.choice([n for n in members(file, h5py.Dataset) if file[n].dtype.kind in "fiu"])]
    info = np.iinfo(dataset.dtype) if dataset.dtype.kind in "iu" else np.finfo(dataset.dtype)
    choices = [0, 1, info.min, info.max] + ([np.nan, np.inf, -np.inf] if dataset.dtype.kind == "f" else [])
    # Of one that claims a billion numbers, too, only this one is written.
    dataset[tuple(rng.randrange(length) for length in dataset.shape)] = rng.choice(choices)


def store_otherwise(file: h5py.File, rng: random.Random) -> None:
    """Chunked, filtered, unlimited, or claiming what is not there."""
    name = rng.choice(members(file, h5py.Dataset))
    values = np.atleast_1d(file[name][()])
    options: dict[str, Any] = rng.choice(
        (
            {"compression": "gzip"}, {"shuffle": True}, {"fletcher32": True}, {"compression": "lzf"},
            {"maxshape": (None,) * values.ndim}, {"scaleoffset": 2 if values.dtype.kind == "f" else 0},
            {"chunks": values.shape},
        )
    )  # fmt: skip
    if rng.random() < 0.3:
        sizes = rng.choice(((2**20, 2**20), (2**40,), (2**62,), (2**31, 2**31, 2**31), (10**9,)))
        replace(file, name, None, shape=sizes, dtype="<f4", chunks=rng.choice((True, (1,) * len(sizes))))
    else:
        replace(file, name, values, **options)


def store_elsewhere(file: h5py.File, rng: random.Random) -> None:
    """A link, an external file, a virtual dataset, a cycle."""
    name = rng.choice(members(file, h5py.Dataset) + members(file, h5py.Group)[1:])
    others = members(file, h5py.Dataset) + members(file, h5py.Group)
    sort = rng.choice(("soft", "dangling", "external", "hard", "raw", "virtual", "type"))
    target = file[rng.choice(others)]
    del file[name]
    if sort == "soft":
        file[name] = h5py.SoftLink(target.name)
    elif sort == "dangling":
        file[name] = h5py.SoftLink("/nowhere")
    elif sort == "external":
        file[name] = h5py.ExternalLink("/etc/passwd", "/")
    elif sort == "hard":
        file[name] = target
    elif sort == "type":
        file[name] = np.dtype(rng.choice(("f8", [("a", "f4")])))
    elif sort == "raw":
        file.create_dataset(name, (5, 7), "<f4", external=[("/etc/passwd", 0, 140)])
    else:
        layout = h5py.VirtualLayout((5, 7), "<f4")
        layout[:] = h5py.VirtualSource("/etc/passwd", "x", (5, 7))
        file.create_virtual_dataset(name, layout)


def change_members(file: h5py.File, rng: random.Random) -> None:
    """Something is missing, too much, or goes by another name."""
    everything = members(file, h5py.Dataset) + members(file, h5py.Group)[1:]
    name, sort = (
        rng.choice(everything),
        rng.choice(("missing", "renamed", "copied", "group", "deep", "many", "dataset")),
    )
    if sort == "missing":
        del file[name]
    elif sort == "renamed":
        file.move(
            name, rng.choice((name + "x", rng.choice(everything), "é", b"\xff".decode(errors="surrogateescape")))
        )
    elif sort == "copied":
        file.copy(
            name, rng.choice(members(file, h5py.Group)) + "/" + rng.choice(("again", "02", "classes", "norm_mean"))
        )
    elif sort == "group":
        del file[name]
        file.create_group(name)
    elif sort == "deep":
        file.create_group(rng.choice(members(file, h5py.Group)) + "/x" * rng.choice((1, 9, 300)))
    elif sort == "many":
        for k in range(300):
            file[name.rpartition("/")[0]].create_group(f"{k:02d}")
    else:
        file[f"{rng.choice(members(file, h5py.Group))}/{rng.choice(('x', 'weight', '01', 'training'))}"] = np.zeros(3)


def change_attribute(file: h5py.File, rng: random.Random) -> None:
    """Another value or type of an attribute, or none, or one more."""
    group = file[rng.choice(members(file, h5py.Group))]
    name = rng.choice([*group.attrs, "x"])
    if rng.random() < 0.15 and name in group.attrs:
        del group.attrs[name]
        return
    value = rng.choice(
        (
            rng.choice(INTEGERS), fixed(rng.choice(TEXTS)), np.float64(1), np.int32(1), "variable", np.arange(3),
            np.zeros(2, "<i8"), h5py.Empty("<i8"), file.ref, np.zeros((), [("a", "<i8")]),
        )
    )  # fmt: skip
    if isinstance(value, h5py.Reference):
        group.attrs.create(name, value, dtype=h5py.ref_dtype)
    else:
        group.attrs.create(name, value)


def change_document(file: h5py.File, rng: random.Random) -> None:
    """A value somewhere in the JSON of settings, attributes or provenance."""
    places = [(n, True) for n in members(file, h5py.Group) if "config" in file[n].attrs]
    places += [(n, False) for n in ("provenance", "estimator/attributes") if n in file]
    name, in_attribute = rng.choice(places)
    text = file[name].attrs["config"] if in_attribute else file[name][()]
    document = json.loads(text)
    change_somewhere(document, rng)
    changed = json.dumps(document).encode()
    if rng.random() < 0.1:
        k = rng.randrange(len(changed))
        changed = changed[:k] + rng.choice((b"", b"NaN", b"1e999", b"\xc3", b",,", b'"')) + changed[k:]
    if in_attribute:
        file[name].attrs.create("config", fixed(changed))
    else:
        replace(file, name, fixed(changed))


def change_somewhere(document: Any, rng: random.Random) -> None:
    """Change, remove or add one value of nested lists and dicts."""
    keys = list(document) if isinstance(document, dict) else list(range(len(document)))
    if not keys:
        return
    key = rng.choice(keys)
    if isinstance(document[key], dict | list) and document[key] and rng.random() < 0.7:
        change_somewhere(document[key], rng)
    elif rng.random() < 0.1:
        del document[key]
    elif rng.random() < 0.1 and isinstance(document, dict):
        document[rng.choice(("x", "__class__", "n_iter_", "classes_"))] = rng.choice(VALUES)
    else:
        document[key] = rng.choice(VALUES)


STRUCTURES: dict[str, Callable[[h5py.File, random.Random], None]] = {
    function.__name__: function
    for function in (
        change_dataset, change_values, store_otherwise, store_elsewhere, change_members, change_attribute,
        change_document, change_document,
    )
}  # fmt: skip
