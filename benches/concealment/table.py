#!/usr/bin/env python3
"""Compares Offhook's concealment with silence, repetition and libspandsp's, by PESQ, on the same losses.

`make concealment` runs it. Beside the PESQ scores of 8 kHz stands what the E-model (ITU-T G.107) expects of G.711 with the
same losses, in MOS-CQE, by the packet-loss robustness of ITU-T G.113: without concealment (Bpl 4.3) and with that of
G.711 Appendix I (Bpl 25.1). It is a prediction for any voice and no measurement, on another scale.

PLC is the program that conceals (benches/concealment/conceal.rs), VOICES a folder for the
speech, which is made once by Flite and espeak-ng and taken from Asterisk's prompts.

    table.py PLC VOICES [--json FILE] [--seeds N] [--only WORD]
"""
import argparse
import ctypes
import json
import multiprocessing
import pathlib
import random
import subprocess
import sys
import wave

import numpy as np
from pesq import pesq

FRAME_MS = 20
SENTENCES = (
    "The birch canoe slid on the smooth planks. Glue the sheet to the dark blue background.",
    "Please tell me your account number. I would like to move my appointment to Thursday afternoon.",
)
ALLISON = pathlib.Path("/usr/share/asterisk/sounds/en_US_f_Allison")
# Whole sentences, some nine seconds together.
PROMPTS = ("demo-instruct", "vm-intro", "tt-weasels")
LOSSES = ("5 % random", "10 % random", "20 % random", "bursts of 3")
METHODS = ("offhook", "alone", "spandsp", "repetition", "silence")


def main():
    options = arguments()
    options.voices.mkdir(parents=True, exist_ok=True)
    rates = {"narrowband": 8_000, "wideband": 16_000}
    jobs = [
        (str(options.plc.resolve()), rate, name, str(path), loss, seed)
        for band, rate in rates.items()
        for name, path in voices(options.voices, rate)
        if options.only in f"{band} {name}"
        for loss in LOSSES
        for seed in range(options.seeds)
    ]
    results = []
    with multiprocessing.Pool() as pool:
        for done, result in enumerate(pool.imap_unordered(measure, jobs), 1):
            results.append(result)
            if sys.stderr.isatty():
                print(f"\r{done} of {len(jobs)}", end="", file=sys.stderr)
    results.sort(key=lambda result: (result["rate"], result["voice"], result["loss"], result["seed"]))
    for band, rate in rates.items():
        report(band, [result for result in results if result["rate"] == rate])
    if options.json:
        options.json.write_text(json.dumps(results, indent=1))


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("plc", type=pathlib.Path)
    parser.add_argument("voices", type=pathlib.Path)
    parser.add_argument("--json", type=pathlib.Path, help="every single figure")
    parser.add_argument("--seeds", type=int, default=3, help="loss patterns of each kind")
    parser.add_argument("--only", default="", help="a part of a band or a voice")
    return parser.parse_args()


# The E-model

ROBUSTNESS = {"E: none": 4.3, "E: App. I": 25.1}


def e_model(loss, robustness):
    """MOS of G.711 (Ie 0) with nothing else wrong: R 93.2 less the effective impairment (G.107, 7.2 and annex B)."""
    percent, burst_ratio = (10, 3 * 0.9) if loss == "bursts of 3" else (int(loss.split(" ")[0]), 1)
    r = 93.2 - 95 * percent / (percent / burst_ratio + robustness)
    return max(1, 1 + 0.035 * r + r * (r - 60) * (100 - r) * 7e-6)


# Voices


def voices(folder, rate):
    """Name and file of each voice, made where it is not there yet."""
    makers = {f"Flite {voice}": flite(voice) for voice in ("slt", "rms", "awb", "kal16")}
    makers |= {f"espeak-ng {voice}": espeak(voice) for voice in ("en-us", "en-gb+f3", "de+f2")}
    if rate == 8_000:
        makers["human (Asterisk's prompts)"] = prompts
    for name, make in makers.items():
        path = folder / f"{name.split(' (')[0].replace(' ', '-')}-{rate}.wav"
        if not path.exists():
            samples, source_rate = make()
            write(path, prepare(samples, source_rate, rate), rate)
        yield name, path


def flite(voice):
    return lambda: spoken(["flite", "-voice", voice, "-t", " ".join(SENTENCES), "-o", "/dev/stdout"])


def espeak(voice):
    return lambda: spoken(["espeak-ng", "-v", voice, "--stdout", " ".join(SENTENCES)])


def spoken(command):
    data = subprocess.run(command, check=True, capture_output=True).stdout
    # Both write a header before they know the length: what is after `data` counts.
    at = data.index(b"fmt ")
    rate = int.from_bytes(data[at + 12 : at + 16], "little")
    body = data[data.index(b"data") + 8 :]
    return np.frombuffer(body[: len(body) // 2 * 2], "<i2").astype(float), rate


def prompts():
    samples = []
    for name in PROMPTS:
        with wave.open(str(ALLISON / f"{name}.wav")) as file:
            assert file.getframerate() == 8_000
            samples.append(np.frombuffer(file.readframes(3 * 8_000), "<i2").astype(float))
    return np.concatenate(samples), 8_000


def prepare(samples, source_rate, rate):
    """In the band of the line, at -26 dBFS, whole frames."""
    length = len(samples) * rate // source_rate
    spectrum = np.fft.rfft(samples)
    hz = np.fft.rfftfreq(len(samples), 1 / source_rate)
    edges = (200, 3_400) if rate == 8_000 else (50, 7_000)
    width = 100.0
    spectrum *= np.clip((hz - edges[0]) / width + 0.5, 0, 1) * np.clip((edges[1] - hz) / width + 0.5, 0, 1)
    short = np.zeros(length // 2 + 1, complex)
    count = min(len(short), len(spectrum))
    short[:count] = spectrum[:count]
    result = np.fft.irfft(short, length)
    result *= 32_768 * 10 ** (-26 / 20) / np.sqrt(np.mean(result**2))
    frame = rate * FRAME_MS // 1_000
    result = result[: length // frame * frame]
    return np.clip(np.round(result), -32_768, 32_767).astype("<i2")


def write(path, samples, rate):
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, rate, 0, "NONE", ""))
        file.writeframes(samples.tobytes())


def read(path):
    with wave.open(path) as file:
        return np.frombuffer(file.readframes(file.getnframes()), "<i2")


# Losses


def pattern(loss, frames, seed):
    """A character per frame, 1 where it is lost; the first 200 ms come."""
    chance = random.Random(f"{loss} {seed}")
    lost = [False] * frames
    if loss == "bursts of 3":
        # One in ten of all frames, three at a time.
        at = 10
        while (at := at + 3 + round(chance.expovariate(1 / 24))) + 3 < frames:
            lost[at : at + 3] = [True] * 3
    else:
        rate = int(loss.split(" ")[0]) / 100
        # As many as the rate says, wherever they fall.
        for at in chance.sample(range(10, frames), round(rate * (frames - 10))):
            lost[at] = True
    return "".join("01"[is_lost] for is_lost in lost)


# Methods


def conceal(method, plc, rate, samples, lost):
    frame = rate * FRAME_MS // 1_000
    if method in ("offhook", "alone"):
        run = [plc, str(rate), method, lost]
        output = subprocess.run(run, input=samples.tobytes(), check=True, capture_output=True).stdout
        return np.frombuffer(output, "<i2")
    frames = samples.reshape(-1, frame).copy()
    if method == "spandsp":
        return spandsp(frames, lost)
    for at, mark in enumerate(lost):
        if mark == "1":
            frames[at] = frames[at - 1] if method == "repetition" else 0
    return frames.reshape(-1)


def spandsp(frames, lost):
    library = ctypes.CDLL("libspandsp.so.2")
    library.plc_init.restype = ctypes.c_void_p
    library.plc_init.argtypes = [ctypes.c_void_p]
    for call in (library.plc_rx, library.plc_fillin):
        call.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int]
    state = library.plc_init(None)
    for frame, mark in zip(frames, lost):
        call = library.plc_fillin if mark == "1" else library.plc_rx
        call(state, frame.ctypes.data, len(frame))
    return frames.reshape(-1)


def companded(samples):
    """As it comes out of G.711 µ-law."""
    magnitude = np.minimum(np.abs(samples.astype(int)), 32_635) + 132
    shift = np.floor(np.log2(magnitude)).astype(int) - 4
    step = ((magnitude >> shift) << shift) + (1 << shift >> 1)
    return (np.sign(samples) * (step - 132)).astype("<i2")


# Measuring


def measure(job):
    plc, rate, voice, path, loss, seed = job
    samples = read(path)
    frame = rate * FRAME_MS // 1_000
    sent = companded(samples) if rate == 8_000 else samples
    lost = pattern(loss, len(samples) // frame, f"{voice} {seed}")
    mode = "nb" if rate == 8_000 else "wb"
    scores = {}
    for method in METHODS:
        if method == "spandsp" and rate != 8_000:
            continue
        heard = conceal(method, plc, rate, sent, lost)
        assert len(heard) == len(samples)
        scores[method] = float(pesq(rate, samples, heard, mode))
    return {"rate": rate, "voice": voice, "loss": loss, "seed": seed, "lost": lost.count("1"), **scores}


def report(band, results):
    if not results:
        return
    methods = [method for method in METHODS if method in results[0]]
    scale = "MOS-LQO, P.862.1" if band == "narrowband" else "P.862.2"
    voices = sorted({result["voice"] for result in results})
    print(f"\n{band}: PESQ ({scale}), mean over {len(voices)} voices and all seeds")
    titles = methods + (list(ROBUSTNESS) if band == "narrowband" else [])
    head = "".join(f"{title:>11}" for title in titles)
    print(f"{'':24}{head}   offhook ahead of the next best (alone)")
    for loss in LOSSES:
        chosen = [result for result in results if result["loss"] == loss]
        expected = [e_model(loss, robustness) for robustness in ROBUSTNESS.values()] if band == "narrowband" else []
        row(loss, chosen, methods, expected)
    for voice in voices:
        print(voice)
        for loss in LOSSES:
            row(f"  {loss}", [r for r in results if r["loss"] == loss and r["voice"] == voice], methods)


def row(title, results, methods, expected=()):
    means = {method: np.mean([result[method] for result in results]) for method in methods}
    best = max(means[method] for method in methods if method not in ("offhook", "alone"))
    cells = "".join(f"{value:11.2f}" for value in [*means.values(), *expected])
    print(f"{title:24}{cells}   {means['offhook'] - best:+.2f} ({means['alone'] - best:+.2f})")


main()
