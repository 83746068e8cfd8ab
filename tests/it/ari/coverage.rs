//! For each operation the test that calls it and asserts its effect, or why there is none.

use std::collections::BTreeSet;

use offhook::asterisk::ari::Ari;

/// How an operation is shown to work.
enum Proof {
    /// By this test.
    Test(&'static str),
    /// It cannot be, here; with the reason. The test that is named beside it goes as far as can be gone.
    Cannot(&'static str, &'static str),
}
use Proof::{Cannot, Test};

const MAILBOXES: &str = "Debian builds Asterisk without res_ari_mailboxes: the test asserts that this is said, and does more where it is there";

/// Operation by group and method, and its proof.
const PROOFS: &[(&str, Proof)] = &[
    ("Applications::list", Test("an_application_is_listed_while_it_is_connected")),
    ("Applications::get", Test("an_application_is_listed_while_it_is_connected")),
    ("Applications::subscribe", Test("events_of_a_source_come_from_subscribing_to_unsubscribing")),
    ("Applications::unsubscribe", Test("events_of_a_source_come_from_subscribing_to_unsubscribing")),
    ("Applications::filter", Test("events_that_a_filter_keeps_back_do_not_come")),
    ("Server::get_object", Test("an_object_of_dynamic_configuration_is_made_read_and_deleted")),
    ("Server::update_object", Test("an_object_of_dynamic_configuration_is_made_read_and_deleted")),
    ("Server::delete_object", Test("an_object_of_dynamic_configuration_is_made_read_and_deleted")),
    ("Server::info", Test("asterisk_tells_its_version_and_modules")),
    ("Server::ping", Test("asterisk_tells_its_version_and_modules")),
    ("Server::modules", Test("asterisk_tells_its_version_and_modules")),
    ("Server::module", Test("asterisk_tells_its_version_and_modules")),
    ("Server::load_module", Test("a_module_is_unloaded_and_loaded_and_reads_its_configuration_again")),
    ("Server::unload_module", Test("a_module_is_unloaded_and_loaded_and_reads_its_configuration_again")),
    ("Server::reload_module", Test("a_module_is_unloaded_and_loaded_and_reads_its_configuration_again")),
    ("Server::logs", Test("a_log_is_started_begun_anew_and_stopped")),
    ("Server::add_log", Test("a_log_is_started_begun_anew_and_stopped")),
    ("Server::delete_log", Test("a_log_is_started_begun_anew_and_stopped")),
    ("Server::rotate_log", Test("a_log_is_started_begun_anew_and_stopped")),
    ("Server::global_var", Test("a_global_variable_is_set_and_read")),
    ("Server::set_global_var", Test("a_global_variable_is_set_and_read")),
    ("Bridges::list", Test("a_bridge_is_made_listed_joined_left_and_taken_down")),
    ("Bridges::create_unnamed", Test("a_bridge_is_made_listed_joined_left_and_taken_down")),
    ("Bridges::create", Test("a_bridge_is_made_listed_joined_left_and_taken_down")),
    ("Bridges::get", Test("a_bridge_is_made_listed_joined_left_and_taken_down")),
    ("Bridges::destroy", Test("a_bridge_is_made_listed_joined_left_and_taken_down")),
    ("Bridges::var", Test("variables_of_a_bridge_are_set_and_read")),
    ("Bridges::set_var_as", Test("variables_of_a_bridge_are_set_and_read")),
    ("Bridges::vars", Test("variables_of_a_bridge_are_set_and_read")),
    ("Bridges::set_vars", Test("variables_of_a_bridge_are_set_and_read")),
    ("Bridges::add_channel_as", Test("a_bridge_is_made_listed_joined_left_and_taken_down")),
    ("Bridges::remove_channel", Test("a_bridge_is_made_listed_joined_left_and_taken_down")),
    ("Bridges::set_video_source", Test("who_is_seen_is_chosen_and_left_to_asterisk_again")),
    ("Bridges::clear_video_source", Test("who_is_seen_is_chosen_and_left_to_asterisk_again")),
    ("Bridges::start_moh", Test("everybody_in_a_bridge_hears_music_and_prompts")),
    ("Bridges::stop_moh", Test("everybody_in_a_bridge_hears_music_and_prompts")),
    ("Bridges::play_unnamed", Test("everybody_in_a_bridge_hears_music_and_prompts")),
    ("Bridges::play", Test("everybody_in_a_bridge_hears_music_and_prompts")),
    ("Bridges::record", Test("a_bridge_is_recorded")),
    ("Channels::list", Test("a_call_is_made_with_the_id_in_the_path_and_listed")),
    ("Channels::originate", Test("a_call_is_answered_bridged_with_its_media_and_hung_up")),
    ("Channels::create", Test("a_channel_is_made_first_and_dialled_later")),
    ("Channels::get", Test("a_call_is_answered_bridged_with_its_media_and_hung_up")),
    ("Channels::originate_with_id", Test("a_call_is_made_with_the_id_in_the_path_and_listed")),
    ("Channels::hangup", Test("a_call_is_answered_bridged_with_its_media_and_hung_up")),
    ("Channels::continue_in_dialplan", Test("a_channel_goes_to_another_application_and_into_the_dialplan")),
    ("Channels::move_to", Test("a_channel_goes_to_another_application_and_into_the_dialplan")),
    ("Channels::redirect", Test("a_caller_is_sent_elsewhere_before_the_answer")),
    ("Channels::answer", Test("a_caller_hears_ringing_early_audio_the_answer_music_and_silence")),
    ("Channels::ring", Test("a_caller_hears_ringing_early_audio_the_answer_music_and_silence")),
    ("Channels::ring_stop", Test("a_caller_hears_ringing_early_audio_the_answer_music_and_silence")),
    ("Channels::progress", Test("a_caller_hears_ringing_early_audio_the_answer_music_and_silence")),
    ("Channels::dtmf", Test("keys_are_sent_and_come_back_from_the_echo")),
    ("Channels::mute", Test("who_is_muted_is_not_heard")),
    ("Channels::unmute", Test("who_is_muted_is_not_heard")),
    ("Channels::hold", Test("a_caller_hears_ringing_early_audio_the_answer_music_and_silence")),
    ("Channels::unhold", Test("a_caller_hears_ringing_early_audio_the_answer_music_and_silence")),
    ("Channels::start_moh", Test("a_caller_hears_ringing_early_audio_the_answer_music_and_silence")),
    ("Channels::stop_moh", Test("a_caller_hears_ringing_early_audio_the_answer_music_and_silence")),
    ("Channels::start_silence", Test("a_caller_hears_ringing_early_audio_the_answer_music_and_silence")),
    ("Channels::stop_silence", Test("a_caller_hears_ringing_early_audio_the_answer_music_and_silence")),
    ("Channels::play_unnamed", Test("a_prompt_is_played_held_and_stopped")),
    ("Channels::play", Test("a_prompt_is_played_held_and_stopped")),
    ("Channels::record", Test("a_recording_is_held_muted_stored_copied_and_deleted")),
    ("Channels::var", Test("variables_of_a_channel_are_set_and_read")),
    ("Channels::set_var_as", Test("variables_of_a_channel_are_set_and_read")),
    ("Channels::vars", Test("variables_of_a_channel_are_set_and_read")),
    ("Channels::set_vars", Test("variables_of_a_channel_are_set_and_read")),
    ("Channels::snoop_unnamed", Test("two_who_listen_in_are_channels_of_their_own")),
    ("Channels::snoop", Test("two_who_listen_in_are_channels_of_their_own")),
    ("Channels::dial", Test("a_channel_is_made_first_and_dialled_later")),
    ("Channels::rtp_statistics", Test("a_caller_hears_ringing_early_audio_the_answer_music_and_silence")),
    ("Channels::external_media", Test("a_call_is_answered_bridged_with_its_media_and_hung_up")),
    ("Channels::transfer_progress", Test("a_transfer_that_a_phone_asks_for_is_carried_out_by_us")),
    ("DeviceStates::list", Test("a_lamp_is_set_and_those_who_watch_are_told")),
    ("DeviceStates::get", Test("a_lamp_is_set_and_those_who_watch_are_told")),
    ("DeviceStates::update", Test("a_lamp_is_set_and_those_who_watch_are_told")),
    ("DeviceStates::delete", Test("a_lamp_is_set_and_those_who_watch_are_told")),
    ("Endpoints::list", Test("endpoints_are_listed_by_technology")),
    ("Endpoints::of", Test("endpoints_are_listed_by_technology")),
    ("Endpoints::get", Test("endpoints_are_listed_by_technology")),
    ("Endpoints::send_message_to", Test("texts_and_referrals_reach_an_address_and_an_endpoint")),
    ("Endpoints::send_message", Test("texts_and_referrals_reach_an_address_and_an_endpoint")),
    ("Endpoints::refer_uri", Test("texts_and_referrals_reach_an_address_and_an_endpoint")),
    ("Endpoints::refer", Test("texts_and_referrals_reach_an_address_and_an_endpoint")),
    ("Events::send", Test("an_event_of_our_own_is_about_what_it_names")),
    ("Events::claim", Test("an_offered_call_goes_to_who_claims_it_first")),
    ("Mailboxes::list", Cannot(MAILBOXES, "mailboxes_are_kept_where_their_module_is")),
    ("Mailboxes::get", Cannot(MAILBOXES, "mailboxes_are_kept_where_their_module_is")),
    ("Mailboxes::update", Cannot(MAILBOXES, "mailboxes_are_kept_where_their_module_is")),
    ("Mailboxes::delete", Cannot(MAILBOXES, "mailboxes_are_kept_where_their_module_is")),
    ("Playbacks::get", Test("a_prompt_is_played_held_and_stopped")),
    ("Playbacks::stop", Test("a_prompt_is_played_held_and_stopped")),
    ("Playbacks::control", Test("a_prompt_goes_forward_back_and_from_the_start")),
    ("Recordings::stored", Test("a_recording_is_held_muted_stored_copied_and_deleted")),
    ("Recordings::get_stored", Test("a_recording_is_held_muted_stored_copied_and_deleted")),
    ("Recordings::delete_stored", Test("a_recording_is_held_muted_stored_copied_and_deleted")),
    ("Recordings::file", Test("a_recording_is_held_muted_stored_copied_and_deleted")),
    ("Recordings::copy", Test("a_recording_is_held_muted_stored_copied_and_deleted")),
    ("Recordings::get_live", Test("a_recording_is_held_muted_stored_copied_and_deleted")),
    ("Recordings::stop", Test("a_recording_is_held_muted_stored_copied_and_deleted")),
    ("Recordings::pause", Test("a_recording_is_held_muted_stored_copied_and_deleted")),
    ("Recordings::unpause", Test("a_recording_is_held_muted_stored_copied_and_deleted")),
    ("Recordings::mute", Test("a_recording_is_held_muted_stored_copied_and_deleted")),
    ("Recordings::unmute", Test("a_recording_is_held_muted_stored_copied_and_deleted")),
    ("Recordings::cancel", Test("a_recording_that_is_thrown_away_leaves_nothing")),
    ("Sounds::list", Test("sounds_are_listed_by_language_and_shown")),
    ("Sounds::get", Test("sounds_are_listed_by_language_and_shown")),
];

/// The text of every test of this folder.
fn tests() -> String {
    let files = std::fs::read_dir("tests/it/ari").expect("the tests run in the repository").flatten();
    files.map(|file| std::fs::read_to_string(file.path()).expect("sources are text")).collect()
}

/// The body of a test, up to the next function at the margin.
fn body<'a>(tests: &'a str, name: &str) -> Option<&'a str> {
    let start = tests.find(&format!("async fn {name}()"))?;
    tests[start..].split("\n}\n").next()
}

#[test]
fn every_operation_is_called_by_a_test_or_a_line_says_why_not() {
    let tests = tests();
    let mut wrong = Vec::new();
    let (mut tested, mut excused) = (0, 0);
    for operation in Ari::operations() {
        let name = format!("{}::{}", operation.group, operation.name);
        let Some((_, proof)) = PROOFS.iter().find(|(operation, _)| *operation == name) else {
            wrong.push(format!(
                "{name} ({} {}) has neither a test nor a reason",
                operation.method, operation.path
            ));
            continue;
        };
        let test = match proof {
            Test(test) => {
                tested += 1;
                test
            }
            Cannot(why, test) => {
                println!("{name}: {why}");
                excused += 1;
                test
            }
        };
        let Some(body) = body(&tests, test) else {
            wrong.push(format!("{name}: there is no test {test}"));
            continue;
        };
        let call = format!(".{}(", operation.name);
        if !body.contains(&call) {
            wrong.push(format!("{name}: the test {test} does not call it"));
        }
    }
    let known: BTreeSet<String> = Ari::operations().map(|o| format!("{}::{}", o.group, o.name)).collect();
    wrong.extend(
        PROOFS
            .iter()
            .filter(|(name, _)| !known.contains(*name))
            .map(|(name, _)| format!("{name} is no operation")),
    );
    // The events socket is the operation that is no request.
    println!("{}/{} operations are called by a test, {excused} have a reason", tested + 1, known.len() + 1);
    assert!(wrong.is_empty(), "{wrong:#?}");
}
