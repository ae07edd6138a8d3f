# SPDX-License-Identifier: Apache-2.0
"""The report's sentences; `document` fills in the figures."""

from __future__ import annotations

from typing import Final

HEAD: Final = """\
# How well the models read

Written by `{command}` on {date}; `figures.json` holds the same figures for programs. Every real picture is of
`val.jsonl` ({pictures} street images), on which nothing was trained or fitted; it chose between finished models, so
expect a little less elsewhere. One seed each; intervals are 95 % (Wilson). About 1 % of the labels are wrong. O and
0, I and 1 are one (≡) unless a row says "to the letter".

| model | SHA-256 |
|---|---|
{models}

## The goals

{goals}
"""

FOUND: Final = """
## Plates found

![precision and recall](precision_recall.png)

Plates of at least 24 px at the detector's input; narrower ones count neither way. Of plates of any width {any_width}
are found. A read on a plate that nobody labelled counts as false here. The curve is of the usual look at
the whole picture, without closer looks at its parts, and ends at the lowest score that the pipeline follows.
"""

GHOSTS: Final = """
## Ghosts

In {pictures} street pictures without a plate (windows beside the plates of `val.jsonl`, and plates painted over) there
are {ghosts} reads of nothing in {with_ghosts} pictures, {believed} of them with a confidence of 0.5 and more.{rendered}
"""

CONFIDENCE: Final = """
## What the confidence is worth

![calibration](calibration.png)

Bins of equally many reads. With {reads} reads the curve can't be known better than its error bars.

![risk and coverage](risk_coverage.png)
"""

TEXTS: Final = """
## Texts

![by width](width.png)

![by sharpness](sharpness.png)

![by country and source](groups.png)

Exact texts from the whole picture; a plate that was not found is wrong. The number under a bar is how many plates it
stands for. Sharpness is the variance of the Laplacian of the normalised crop, so noise counts as sharp too.

Two rows: {two_rows} plates whose serial stands in two rows, or that show small stacked letters, marked by eye
(`inference/report/two_rows.json`).

![confusions](confusion.png)

{right} characters right, {wrong} not ({gap}: none); the most frequent:

| on the plate | read | times |
|---|---|---|
{pairs}
"""

NO_STATES: Final = """
## State of issuance

Not read by these models.
"""

STATES: Final = """
## State of issuance

Of {plates} US plates whose state is known, {read} were found. The likeliest state is right for {top1} of all and
{top1_of_read} of those found. A state is named for {told}, and is right in {told_right} of these; else the read says
that it is not known. {sixty}Most states have two or three plates here: no state's own figure would mean anything.
"""

RENDERED: Final = """
## Night and infrared: rendered, not real

There are no labelled pictures of US plates by night or in infrared. These are stills of the simulated roadside
(retroreflective sheets under an infrared lamp, noise, motion, weather, 15 to 80 mph; and the same road by day to
compare): they say that nothing is broken by night, not how well a real night is read.

| light | pictures | exact, plates of 40 px and more | to the letter | found (IoU 0.3) |
|---|---|---|---|---|
{rows}

![rendered](rendered.png)
"""

TIME: Final = """
## Time

![timing](timing.png)

{frames} frames of the simulated roadside in which one plate is read, one x86 thread, the best of five runs of each:
{cpu:.1f} ms of processor time in the median (95 %: {cpu95:.1f}), {wall:.1f} ms by the clock. Every plate is read in
three crops. Memory: {rss:.0f} MB, the report's own included. Peer: {peer}.
"""

FAILURES: Final = """
## The worst failures

The pictures are other people's and are not published here: the same command writes them to a folder of its own
(`build/models/`, ignored by git). Wrong reads, the surest first ({wrong} in all):

{wrong_rows}
Not found, the widest first ({missed} in all with a known text):

{missed_rows}
Reads of nothing that is labelled, the likeliest plate first ({false} in all; many are plates that nobody labelled):

{false_rows}"""
