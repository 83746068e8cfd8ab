"""A Wyoming server that hears with PocketSphinx, on the packages `wyoming` and `pocketsphinx` of PyPI.

Arguments: the port, and a JSGF grammar.
"""

import asyncio
import functools
import sys

from pocketsphinx import Decoder
from wyoming.asr import Transcribe, Transcript
from wyoming.audio import AudioChunk, AudioChunkConverter, AudioStop
from wyoming.event import Event
from wyoming.server import AsyncEventHandler, AsyncServer


class Handler(AsyncEventHandler):
    def __init__(self, decoder: Decoder, *arguments) -> None:
        super().__init__(*arguments)
        self.decoder = decoder
        self.converter = AudioChunkConverter(rate=16000, width=2, channels=1)
        self.audio = b""

    async def handle_event(self, event: Event) -> bool:
        if Transcribe.is_type(event.type):
            self.audio = b""
        elif AudioChunk.is_type(event.type):
            self.audio += self.converter.convert(AudioChunk.from_event(event)).audio
        elif AudioStop.is_type(event.type):
            await self.write_event(Transcript(text=self.hear()).event())
            return False
        return True

    def hear(self) -> str:
        self.decoder.start_utt()
        self.decoder.process_raw(self.audio, no_search=False, full_utt=True)
        self.decoder.end_utt()
        found = self.decoder.hyp()
        return found.hypstr if found else ""


async def main() -> None:
    decoder = Decoder(jsgf=sys.argv[2], loglevel="FATAL")
    server = AsyncServer.from_uri(f"tcp://127.0.0.1:{sys.argv[1]}")
    await server.run(functools.partial(Handler, decoder))


asyncio.run(main())
