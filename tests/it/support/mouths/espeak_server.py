"""A Wyoming server that speaks with espeak-ng, on the package `wyoming` of PyPI. Says on its output where it listens."""

import asyncio
import sys

from wyoming.audio import AudioChunk, AudioStart, AudioStop
from wyoming.event import Event
from wyoming.info import Attribution, Describe, Info, TtsProgram, TtsVoice
from wyoming.server import AsyncEventHandler, AsyncServer
from wyoming.tts import Synthesize

RATE = 22050
WHO = Attribution(name="espeak-ng", url="https://github.com/espeak-ng/espeak-ng")


class Handler(AsyncEventHandler):
    async def handle_event(self, event: Event) -> bool:
        if Describe.is_type(event.type):
            voice = TtsVoice(
                name="en", attribution=WHO, installed=True, description=None, version=None, languages=["en"]
            )
            program = TtsProgram(
                name="espeak-ng", attribution=WHO, installed=True, description=None, version=None, voices=[voice]
            )
            await self.write_event(Info(tts=[program]).event())
        elif Synthesize.is_type(event.type):
            await self.speak(Synthesize.from_event(event))
        return True

    async def speak(self, wanted: Synthesize) -> None:
        voice = wanted.voice.name if wanted.voice and wanted.voice.name else "en"
        program = await asyncio.create_subprocess_exec(
            "espeak-ng", "-v", voice, "--stdout", wanted.text, stdout=asyncio.subprocess.PIPE
        )
        sound, _ = await program.communicate()
        samples = sound[44:]
        await self.write_event(AudioStart(rate=RATE, width=2, channels=1).event())
        for at in range(0, len(samples), 4410):
            chunk = AudioChunk(rate=RATE, width=2, channels=1, audio=samples[at : at + 4410])
            await self.write_event(chunk.event())
        await self.write_event(AudioStop().event())


async def main() -> None:
    server = AsyncServer.from_uri(f"tcp://127.0.0.1:{sys.argv[1]}")
    await server.run(Handler)


asyncio.run(main())
