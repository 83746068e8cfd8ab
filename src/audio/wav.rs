//! WAV files: prompts in, test audio out (calls are recorded by `store::recording`). Blocking; not for media threads.

use std::path::{Path, PathBuf};

use hound::{SampleFormat, WavReader, WavSpec, WavWriter};

use super::Rate;

/// A recording in memory.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Wav {
    /// Samples per second, whatever the file has.
    pub rate_hz: u32,
    /// Mono; of a stereo file the mean of both sides.
    pub samples: Vec<i16>,
}

/// Why a WAV file could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum WavError {
    /// The system refused to open, read or write it.
    #[error("{path}: {source}", path = path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// It is no WAV file, or is cut off.
    #[error("{path} is no whole WAV file ({what}): {ACCEPTED}", path = path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// It is a WAV file that is coded in a way that we do not read.
    #[error("{path} has {what}: {ACCEPTED}", path = path.display())]
    Unsupported {
        /// Which file.
        path: PathBuf,
        /// What it has.
        what: String,
    },
}

/// The end of every message about a file that cannot be used.
const ACCEPTED: &str =
    "accepted are mono and stereo PCM of 8, 16, 24 or 32 bits, as `sox IN -b 16 -c 1 OUT.wav` makes it";

/// Reads a whole file.
///
/// # Errors
/// Each names the file and says what is accepted.
pub fn read(path: &Path) -> Result<Wav, WavError> {
    let fault = |error| wav_error(path, error);
    let reader = WavReader::open(path).map_err(fault)?;
    let WavSpec { channels, sample_rate, bits_per_sample, sample_format } = reader.spec();
    if !(1..=2).contains(&channels) {
        return Err(WavError::Unsupported { path: path.to_owned(), what: format!("{channels} channels") });
    }
    let samples: Vec<i16> = match sample_format {
        SampleFormat::Int => {
            let shift = |sample: i32| {
                let wide = i64::from(sample) << (32 - bits_per_sample) >> 16;
                i16::try_from(wide).unwrap_or(if wide < 0 { i16::MIN } else { i16::MAX })
            };
            reader.into_samples::<i32>().map(|sample| sample.map(shift)).collect::<Result<_, _>>()
        }
        #[expect(clippy::cast_possible_truncation, reason = "`as` saturates at full scale, as it should")]
        SampleFormat::Float => reader
            .into_samples::<f32>()
            .map(|sample| sample.map(|sample| (sample * 32_767.0).round() as i16))
            .collect::<Result<_, _>>(),
    }
    .map_err(fault)?;
    let samples = if channels == 2 { mix(&samples) } else { samples };
    Ok(Wav { rate_hz: sample_rate, samples })
}

/// Writes a mono file of 16 bits.
///
/// # Errors
/// Names the file.
pub fn write_mono(path: &Path, rate: Rate, samples: &[i16]) -> Result<(), WavError> {
    let fault = |error| wav_error(path, error);
    let mut writer = WavWriter::create(path, spec(1, rate)).map_err(fault)?;
    for sample in samples {
        writer.write_sample(*sample).map_err(fault)?;
    }
    writer.finalize().map_err(fault)
}

const fn spec(channels: u16, rate: Rate) -> WavSpec {
    WavSpec { channels, sample_rate: rate.hz(), bits_per_sample: 16, sample_format: SampleFormat::Int }
}

fn mix(stereo: &[i16]) -> Vec<i16> {
    stereo.chunks_exact(2).map(|pair| i16::midpoint(pair[0], pair[1])).collect()
}

fn wav_error(path: &Path, error: hound::Error) -> WavError {
    let path = path.to_owned();
    match error {
        // What ends too early is a damaged file and no fault of the system's.
        hound::Error::IoError(source) if source.kind() == std::io::ErrorKind::UnexpectedEof => {
            WavError::Damaged { path, what: "it ends too early".to_owned() }
        }
        hound::Error::IoError(source) if source.kind() == std::io::ErrorKind::Other => {
            WavError::Damaged { path, what: source.to_string() }
        }
        hound::Error::IoError(source) => WavError::Io { path, source },
        hound::Error::FormatError(what) => WavError::Damaged { path, what: what.to_owned() },
        hound::Error::UnfinishedSample => WavError::Damaged { path, what: "half a sample".to_owned() },
        hound::Error::TooWide | hound::Error::Unsupported | hound::Error::InvalidSampleFormat => {
            WavError::Unsupported { path, what: "a coding that is not plain PCM".to_owned() }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join(name);
        (folder, path)
    }

    fn written(spec: WavSpec, samples: &[i32]) -> Wav {
        let (_folder, path) = file("written.wav");
        let mut writer = WavWriter::create(&path, spec).expect("a writable folder");
        for sample in samples {
            writer.write_sample(*sample).expect("it fits");
        }
        writer.finalize().expect("a writable folder");
        read(&path).expect("a format that is accepted")
    }

    #[test]
    fn every_width_of_pcm_becomes_16_bits() {
        for (bits_per_sample, samples, expected) in [
            (8, [-128, 0, 127], [-32_768, 0, 32_512]),
            (16, [-32_768, 5, 32_767], [-32_768, 5, 32_767]),
            (24, [-8_388_608, 1_280, 8_388_607], [-32_768, 5, 32_767]),
            (32, [i32::MIN, 327_680, i32::MAX], [-32_768, 5, 32_767]),
        ] {
            let spec = WavSpec {
                channels: 1,
                sample_rate: 22_050,
                bits_per_sample,
                sample_format: SampleFormat::Int,
            };
            let wav = written(spec, &samples);
            assert_eq!((wav.rate_hz, &wav.samples[..]), (22_050, &expected[..]), "{bits_per_sample} bits");
        }
    }

    #[test]
    fn stereo_becomes_the_mean_of_both_sides() {
        let wav = written(spec(2, Rate::Hz8000), &[100, 200, 32_767, 32_767]);
        assert_eq!(wav.samples, [150, 32_767]);
    }

    #[test]
    fn what_we_write_we_read() {
        let (_folder, path) = file("mono.wav");
        write_mono(&path, Rate::Hz16000, &[1, -2, 3]).expect("a writable folder");
        assert_eq!(read(&path).expect("ours"), Wav { rate_hz: 16_000, samples: vec![1, -2, 3] });
    }

    #[test]
    fn an_error_names_the_file_and_says_what_is_accepted() {
        let (_folder, path) = file("greeting.wav");
        assert!(matches!(read(&path), Err(WavError::Io { .. })));
        for content in [&b"RIFF"[..], b"ID3\x04 an mp3 file that was given another name", b""] {
            std::fs::write(&path, content).expect("a writable folder");
            let error = read(&path).expect_err("it is no WAV file").to_string();
            assert!(error.contains("greeting.wav") && error.contains("16"), "{error}");
        }
        // µ-law in a WAV file: format tag 7.
        let mut coded = b"RIFF\x2e\0\0\0WAVEfmt \x12\0\0\0\x07\0\x01\0".to_vec();
        coded.extend([0x40, 0x1f, 0, 0, 0x40, 0x1f, 0, 0, 1, 0, 8, 0, 0, 0]);
        coded.extend(b"data\x04\0\0\0\xff\xff\xff\xff");
        std::fs::write(&path, coded).expect("a writable folder");
        assert!(matches!(read(&path), Err(WavError::Unsupported { .. })));
    }
}
