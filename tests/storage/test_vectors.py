# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
import two_readers
import vector_maker
from cryptography.hazmat.primitives.asymmetric import ec

FILES = sorted(vector_maker.FOLDER.glob("*.txt"))


def test_the_vectors_are_what_their_maker_makes() -> None:
    made = {name: vector_maker.encode(*vector) for name, vector in vector_maker.vectors().items()}
    assert {path.stem: path.read_text() for path in FILES} == made


@pytest.mark.parametrize(
    "ask", [two_readers.product, two_readers.independent], ids=["product", "independent"]
)
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_each_reader_says_of_each_vector_what_it_expects(path, ask) -> None:
    meta, data = vector_maker.decode(path.read_text())
    private = ec.derive_private_key(int(meta["private_key"], 16), ec.SECP256R1())
    said = ask(data, bytes.fromhex(meta["share"]), private, device_of(meta))
    opens = meta["expect"] in {"good", "unclosed", "damaged"}
    assert said.refused == ("" if opens else meta["expect"])
    payloads = [b"hi"] if path.stem == "good-tiny" else vector_maker.PAYLOADS
    assert list(said.records) == payloads[: int(meta["records"])]
    assert list(said.salvaged) == [(int(i), payloads[int(i)]) for i in meta["salvaged"].strip("-").split()]
    assert ", ".join(said.problems or "-") == meta["problems"]
    assert said.closed == (meta["closed"] == "yes")
    if meta["expect"] != "damaged":
        assert not said.problems
        assert said.closed == (meta["expect"] == "good")


def device_of(meta: dict[str, str]) -> ec.EllipticCurvePublicKey | None:
    if meta["device_key"] == "-":
        return None
    return ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), bytes.fromhex(meta["device_key"]))


def test_every_refusal_and_every_problem_has_a_vector() -> None:
    metas = [vector_maker.decode(path.read_text())[0] for path in FILES]
    refusals = set(two_readers.REFUSALS.values()) - {"size"}  # a gibibyte; see test_reader.py
    assert refusals <= {meta["expect"] for meta in metas}
    told = {problem.split()[0] for meta in metas for problem in meta["problems"].split(", ")}
    assert {code.split()[0] for code in two_readers.PROBLEMS.values()} == told - {"-"}
