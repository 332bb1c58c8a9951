"""Says words by the library eSpeak NG: a program of its own, which ``spoken-digits`` runs with Python.

``python espeak_worker.py LIBRARY DATA`` reads lines ``VOICE PITCH SPEED WORD`` and writes for each the number of
samples, 4 bytes, and as many 16-bit samples at 22,050 a second. Every word is said by a process of its own: in one
process the same word comes out otherwise after other words.
"""

import ctypes
import os
import sys

RETRIEVAL, PITCH, SPEED, UTF8 = 2, 3, 1, 1  # of speak_lib.h


def say(library: str, data: str, voice: str, pitch: int, speed: int, word: str) -> bytes:
    """Samples of a word, 16 bits each; nothing where the library fails."""
    speech = ctypes.CDLL(library)
    if speech.espeak_Initialize(RETRIEVAL, 0, data.encode(), 0) < 0:
        return b""
    parts = []
    kind = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)

    def heard(samples, count, events):  # type: ignore[no-untyped-def]
        parts.append(ctypes.string_at(samples, 2 * count) if count > 0 else b"")
        return 0

    callback, text = kind(heard), word.encode()
    speech.espeak_SetSynthCallback(callback)
    if speech.espeak_SetVoiceByName(voice.encode()):
        return b""
    speech.espeak_SetParameter(PITCH, pitch, 0)
    speech.espeak_SetParameter(SPEED, speed, 0)
    speech.espeak_Synth(text, len(text) + 1, 0, 1, 0, UTF8, None, None)
    speech.espeak_Synchronize()
    return b"".join(parts)


def main(library: str, data: str) -> None:
    """Say what is read until there is no more."""
    for line in sys.stdin:
        voice, pitch, speed, word = line.split()
        child = os.fork()
        if not child:
            found = say(library, data, voice, int(pitch), int(speed), word)
            with os.fdopen(1, "wb") as out:
                out.write((len(found) // 2).to_bytes(4, "little") + found)
            os._exit(0)
        if os.waitpid(child, 0)[1]:
            sys.exit("eSpeak NG failed")


if __name__ == "__main__":
    main(*sys.argv[1:])
