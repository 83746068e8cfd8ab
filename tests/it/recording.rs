//! The recording of a call against what its caller said and heard.

use offhook::phone::script::{Outcome, Step};
use offhook::store::recording::{Event, TimelineFile};

use crate::support::asterisk::eventually;
use crate::support::caller::{
    HANGS_UP, PATIENCE, REPLIES, SECOND, SILENT, assert_gone, connected, house, line, phone, play,
};
use crate::support::engine::ShowLog;

/// Where in `track` the sound `wanted` is best found, and how well (1 is perfect).
fn find(wanted: &[i16], track: &[i16]) -> (usize, f64) {
    let wanted: Vec<f32> = wanted.iter().map(|s| f32::from(*s)).collect();
    let track: Vec<f32> = track.iter().map(|s| f32::from(*s)).collect();
    let power = |part: &[f32]| part.iter().map(|s| s * s).sum::<f32>().max(1.0);
    let own = power(&wanted);
    let fit = |at: usize| {
        let part = &track[at..at + wanted.len()];
        let product: f32 = part.iter().zip(&wanted).map(|(a, b)| a * b).sum();
        f64::from(product / (own * power(part)).sqrt())
    };
    let places = (0..track.len() - wanted.len()).map(|at| (at, fit(at)));
    places.max_by(|a, b| a.1.total_cmp(&b.1)).expect("the track is longer")
}

/// The loudest stretch of `length` samples, by steps of a frame.
fn loudest(samples: &[i16], length: usize) -> usize {
    let power = |at: usize| samples[at..at + length].iter().map(|s| i64::from(*s).pow(2)).sum::<i64>();
    (0..samples.len() - length).step_by(160).max_by_key(|at| power(*at)).expect("it is longer")
}

#[tokio::test]
async fn a_recording_has_the_caller_left_and_the_bot_right_in_step() {
    let (asterisk, engine) = house().await;
    let _log = ShowLog(engine);
    let phone = phone("5550401").await;
    let call = connected(&phone, asterisk, "111").await;
    let no = line("no").await;
    let steps = vec![Step::BotSpeaks { within: PATIENCE }, SILENT, Step::Say(no.clone()), REPLIES, HANGS_UP];
    let report = play(&call, steps).await;
    let (record, turns) = engine.ended_call_of("5550401").await;
    assert_eq!(turns[1].heard.meaning.as_deref(), Some("no"), "{:?}", turns[1].kind);
    assert_gone(asterisk, engine, &record).await;
    let wav = engine.recording(record.id, "wav");
    assert_eq!(record.recording.as_deref(), wav.to_str());

    let timeline = eventually(5 * SECOND, "the time line is closed", async || {
        let timeline = TimelineFile::read(&engine.recording(record.id, "json")).ok()?;
        matches!(timeline.events.last()?.event, Event::Ended { .. }).then_some(timeline)
    })
    .await;
    let mut reader = hound::WavReader::open(&wav).expect("it is a WAV file");
    assert_eq!((reader.spec().channels, reader.spec().sample_rate), (2, 8_000));
    let samples: Vec<i16> = reader.samples().map(|sample| sample.expect("it is whole")).collect();
    let channel = |which: usize| samples.iter().skip(which).step_by(2).copied().collect::<Vec<i16>>();
    let (left, right) = (channel(0), channel(1));

    // The same two sounds in the recording and at the caller's ear.
    let chunk = 1_600;
    let said_at = loudest(&no.samples, chunk);
    let (caller, caller_fit) = find(&no.samples[said_at..said_at + chunk], &left);
    let heard = call.heard();
    let heard_at = loudest(&heard.by_arrival, chunk);
    let (bot, bot_fit) = find(&heard.by_arrival[heard_at..heard_at + chunk], &right);
    assert!(caller_fit > 0.95 && bot_fit > 0.95, "{caller_fit} {bot_fit}");
    let elsewhere = find(&no.samples[said_at..said_at + chunk], &right).1;
    assert!(elsewhere < 0.8, "the caller is not on the bot's side: {elsewhere}");

    let spoken = report.steps.iter().find_map(|step| match step.outcome {
        Outcome::Said(spoken) => Some(spoken),
        _ => None,
    });
    let ms = |samples: usize| f64::from(u32::try_from(samples).expect("some seconds")) / 8.0;
    let said = spoken.expect("he spoke").started.millis_from(heard.start) + ms(said_at);
    let apart_live = said - ms(heard_at);
    let apart_recorded = ms(caller) - ms(bot);
    println!(
        "caller and bot are {apart_live:.1} ms apart on the wire, {apart_recorded:.1} ms in the recording"
    );
    // Less than a frame on a machine that has time; the phone's own moments blur on one that has not.
    assert!((apart_live - apart_recorded).abs() < 80.0, "{apart_live} {apart_recorded}");

    // The time line tells of the same.
    let plays: Vec<_> = timeline.events.iter().filter(|e| matches!(e.event, Event::Play { .. })).collect();
    assert_eq!(plays.len(), 2, "{timeline:?}");
    assert!(
        timeline
            .events
            .iter()
            .any(|e| matches!(&e.event, Event::Turn { text: Some(text), .. } if text == "no"))
    );
    let begins = timeline
        .events
        .iter()
        .find(|e| matches!(&e.event, Event::Mark { name, .. } if name == "speech begins"));
    let begins = begins.expect("he spoke").at_ms;
    let first_voice = no.samples.iter().position(|s| s.unsigned_abs() > 300).expect("he is not mute");
    let in_recording = ms(caller) - ms(said_at) + ms(first_voice);
    println!("his speech begins at {begins} ms, in the audio at {in_recording} ms");
    assert!((begins - in_recording).abs() < 150.0, "{begins} {in_recording}");
    assert!(matches!(timeline.events.last().unwrap().event, Event::Ended { lost_ms: 0, lost_events: 0 }));
}

#[tokio::test]
async fn the_packets_of_a_call_are_kept_both_ways() {
    let (asterisk, engine) = house().await;
    let _log = ShowLog(engine);
    let phone = phone("5550402").await;
    let call = connected(&phone, asterisk, "111").await;
    play(&call, vec![Step::BotSpeaks { within: PATIENCE }, SILENT, HANGS_UP]).await;
    let (record, _) = engine.ended_call_of("5550402").await;
    assert_gone(asterisk, engine, &record).await;
    let capture = engine.capture(record.id);
    let streams = eventually(5 * SECOND, "both streams are in the capture", async || {
        let streams = offhook::pcap::streams(&capture).ok()?;
        (streams.len() == 2).then_some(streams)
    })
    .await;
    assert!(streams[0].is_answered_by(&streams[1]), "{streams:?}");
    for stream in streams {
        assert!(stream.packets > 50, "{stream:?}");
        assert_eq!((stream.lost, stream.reordered, stream.duplicate), (0, 0, 0), "{stream:?}");
    }
}
