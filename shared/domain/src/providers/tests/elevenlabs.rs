use serde_json::json;

use super::*;
use crate::owned_id::mint;
use crate::providers::elevenlabs::*;

const TRANSCRIPTION: &[u8] =
    include_bytes!("../../../testdata/webhooks/elevenlabs-transcription.json");
const AUDIO: &[u8] = include_bytes!("../../../testdata/webhooks/elevenlabs-audio.json");
const FAILURE: &[u8] =
    include_bytes!("../../../testdata/webhooks/elevenlabs-initiation-failure.json");

#[test]
fn a_transcript_belongs_to_the_telephone_call() {
    let (observation, admitted) = one(map_post_call(TRANSCRIPTION, None, &acme()));
    assert_eq!(observation.key, "post_call_transcription:conv_8801:1739537297");
    assert_eq!(channels(&admitted), ["calls", "call:CA1a2b3c4d5e6f708192a3b4c5d6e7f809"]);
    let data = stored(&admitted);
    assert_eq!(
        data["transcript"],
        json!([
            {"role": "agent", "text": "Hey there angelo. How are you?", "atSeconds": 0.0},
            {"role": "user", "text": "Hey, can you tell me a joke?", "atSeconds": 2.0},
        ])
    );
    assert_eq!((&data["duration"], &data["successful"]), (&json!(22), &json!("success")));
    assert_eq!(data["summary"], "The user asked for a joke.");
    assert_eq!(data["conversationId"], "conv_8801");
    assert_eq!(data["timestamp"], "2025-02-14T12:48:17.000Z");
}

/// A transcript of a call that was begun for this conversation of the platform.
fn begun_for(conversation: &str, user: &str) -> Vec<u8> {
    let mut body: Value = serde_json::from_slice(TRANSCRIPTION).unwrap();
    body["data"]["user_id"] = json!(user);
    body["data"]["conversation_initiation_client_data"]["dynamic_variables"]["conversationId"] =
        json!(conversation);
    body.to_string().into_bytes()
}

#[test]
fn what_the_user_said_joins_the_conversation_that_the_call_was_begun_for() {
    let conversation = mint(&acme(), "7", "7/k-1");
    let all = admitted(map_post_call(&begun_for(&conversation, "7"), None, &acme()));
    let types: Vec<_> = all.iter().map(|(of, _)| &*of.event_type).collect();
    assert_eq!(types, ["call.transcription", "voice.transcription"]);
    let (observation, admitted) = &all[1];
    assert_eq!(observation.key, "post_call_transcription:conv_8801:1739537297:1");
    assert_eq!(channels(admitted), [format!("conversation:{conversation}")]);
    let said = stored(admitted);
    assert_eq!(
        (&said["text"], &said["userId"]),
        (&json!("Hey, can you tell me a joke?"), &json!("7"))
    );
}

#[test]
fn a_call_joins_no_conversation_of_somebody_elses() {
    let of_another = mint(&acme(), "8", "8/k-1");
    for conversation in [of_another.as_str(), "c-9", "conv_8801"] {
        one(map_post_call(&begun_for(conversation, "7"), None, &acme()));
    }
}

#[test]
fn stored_audio_becomes_the_calls_recording() {
    let audio = StoredAudio {
        bucket: "media".into(),
        key: "acme/conv_8801.mp3".into(),
        size: 1_200_000,
        content_type: "audio/mpeg".into(),
    };
    let (observation, admitted) = one(map_post_call(AUDIO, Some(&audio), &acme()));
    assert_eq!(observation.key, "post_call_audio:conv_8801:1739537319");
    assert_eq!(stored(&admitted)["recording"]["media"]["key"], "acme/conv_8801.mp3");
    assert_eq!(
        map_post_call(AUDIO, None, &acme()).unwrap_err().reason,
        "the audio has not been stored"
    );
}

#[test]
fn a_call_that_never_began_has_failed() {
    let (_, admitted) = one(map_post_call(FAILURE, None, &acme()));
    let data = stored(&admitted);
    assert_eq!(data["callSid"], "CA9a2b3c4d5e6f708192a3b4c5d6e7f809");
    assert_eq!((&data["status"], &data["failureReason"]), (&json!("busy"), &json!("busy")));
    assert_eq!(data["to"], "+14155551212");
}

#[test]
fn a_call_without_a_telephone_is_known_by_its_conversation() {
    let mut body: Value = serde_json::from_slice(TRANSCRIPTION).unwrap();
    body["data"]["metadata"].as_object_mut().unwrap().remove("phone_call");
    let (_, admitted) = one(map_post_call(body.to_string().as_bytes(), None, &acme()));
    assert_eq!(stored(&admitted)["callSid"], "conv_8801");
}

#[test]
fn other_bodies_are_unmappable() {
    let reason = |body: &str| map_post_call(body.as_bytes(), None, &acme()).unwrap_err().reason;
    assert_eq!(reason("nothing"), "the body is not JSON");
    assert_eq!(reason("{}"), "type is missing");
    assert_eq!(reason(r#"{"type":"x","data":{}}"#), "data/conversation_id is missing");
    assert_eq!(
        reason(r#"{"type":"x","event_timestamp":1,"data":{"conversation_id":"c"}}"#),
        "type has an unknown value"
    );
}
