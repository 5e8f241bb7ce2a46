//! What is over a limit is refused with its code; nothing is dropped silently.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::checker::{History, Start};
use crate::clients::http::Request;
use crate::clients::token::{claims, service, sign, token};
use crate::clients::websocket::{End, handshake_with};
use crate::harness::cast::{agent, journey};
use crate::harness::{Options, Service, TENANT, TestPlatform};

#[tokio::test]
async fn a_message_that_is_too_long_is_refused() {
    journey(60, async {
        let (platform, history) = (TestPlatform::start().await, History::new());
        let mut socket = agent(&history, "ann");
        socket.connect(platform.gateway()).await.unwrap();
        let long = "x".repeat(64 * 1024);
        let frame = json!({ "type": "ping", "payload": { "text": long } }).to_string();
        socket.send_text(frame).await.unwrap();
        let end = socket.end(Duration::from_secs(5)).await;
        assert!(matches!(end, End::Closed(1009 | 4102)), "{end:?}");
        platform.finish().await;
    })
    .await;
}

#[tokio::test]
async fn the_two_hundred_and_first_channel_is_refused_and_the_others_stay() {
    journey(60, async {
        let (platform, history) = (TestPlatform::start().await, History::new());
        let mut socket = agent(&history, "ann");
        socket.connect(platform.gateway()).await.unwrap();
        let mut refused = 0;
        for number in 0..201 {
            // Below the rate of client messages.
            tokio::time::sleep(Duration::from_millis(21)).await;
            let room = format!("call:CA{number}");
            let answer = socket.request("join", json!({ "room": room })).await.unwrap();
            refused += usize::from(answer["type"] == "error");
            if answer["type"] == "error" {
                assert!(answer["payload"]["code"].is_string(), "{answer}");
            }
        }
        // The channels of everybody count too.
        assert!((1..=8).contains(&refused), "{refused}");
        assert!(socket.is_open());
        platform.finish().await;
    })
    .await;
}

#[tokio::test]
async fn a_flood_of_messages_is_refused_with_its_code() {
    journey(60, async {
        let (platform, history) = (TestPlatform::start().await, History::new());
        let mut socket = agent(&history, "ann");
        socket.connect(platform.gateway()).await.unwrap();
        for _ in 0..400 {
            if socket.send(&json!({ "type": "ping" })).await.is_err() {
                break;
            }
        }
        let told = socket.wait(|frame| frame["payload"]["code"] == "rate_limited").await;
        let end = socket.end(Duration::from_secs(2)).await;
        assert!(told.is_ok() || end == End::Closed(4103), "{told:?} {end:?}");
        platform.finish().await;
    })
    .await;
}

#[tokio::test]
async fn a_connection_that_does_not_authenticate_is_closed() {
    journey(60, async {
        let (platform, history) = (TestPlatform::start().await, History::new());
        let mut socket = agent(&history, "ann");
        let bare = crate::clients::websocket::handshake(platform.gateway(), "/ws").await.unwrap();
        socket.adopt(bare);
        let end = socket.end(Duration::from_secs(14)).await;
        assert!(matches!(end, End::Closed(4100..4200)), "{end:?}");
        platform.finish().await;
    })
    .await;
}

#[tokio::test]
async fn a_page_and_a_body_over_their_limits_are_refused() {
    journey(60, async {
        let platform = TestPlatform::start().await;
        let agent = token(TENANT, "ann", "agent");
        let target = "/v1/history?channel=calls&after=earliest&limit=1001";
        let answer = Request::get(target).bearer(&agent).send(platform.gateway()).await.unwrap();
        assert_eq!(answer.status, 400, "{}", answer.text());
        assert!(answer.json()["code"].is_string());

        let huge = format!("{{\"type\":\"team.activity\",\"data\":\"{}\"}}", "x".repeat(1_100_000));
        let request =
            Request::post("/v1/events").bearer(&service(TENANT)).body("application/json", huge);
        if let Ok(answer) = request.send(platform.ingest()).await {
            assert_eq!(answer.status, 413, "{}", answer.text());
        }
        platform.finish().await;
    })
    .await;
}

#[tokio::test]
async fn a_frame_of_an_unknown_type_without_the_right_to_publish_is_an_error() {
    journey(60, async {
        let (platform, history) = (TestPlatform::start().await, History::new());
        let mut socket = agent(&history, "ann");
        socket.connect(platform.gateway()).await.unwrap();
        socket.send_text("not json".to_owned()).await.unwrap();
        let answer = socket.wait(|frame| frame["type"] == "error").await.unwrap();
        assert!(answer["payload"]["code"].is_string(), "{answer}");
        if socket.is_open() {
            socket.join("calls", Start::Now).await.unwrap();
        }
        platform.finish().await;
    })
    .await;
}

/// Writes the same frame as fast as the gateway takes it; for ever, if it takes it for ever.
async fn flood(to: &mut (impl AsyncWrite + Unpin), frame: &[u8]) {
    let frames = frame.repeat(64 * 1024 / frame.len());
    while to.write_all(&frames).await.is_ok() {}
    std::future::pending().await
}

/// Reads until these bytes have come.
async fn until(from: &mut (impl AsyncRead + Unpin), wanted: &[u8]) {
    let (mut read, mut chunk) = (Vec::new(), [0; 4096]);
    while !read.windows(wanted.len()).any(|window| window == wanted) {
        let count = from.read(&mut chunk).await.unwrap();
        assert!(count > 0, "closed without {wanted:?}");
        read.extend_from_slice(&chunk[..count]);
    }
}

/// A text or control frame as a client sends it, masked with nothing.
fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    [&[first, 0x80 | u8::try_from(payload.len()).unwrap(), 0, 0, 0, 0], payload].concat()
}

#[tokio::test]
async fn a_revocation_ends_a_client_that_floods_the_gateway_within_a_second() {
    journey(90, async {
        // Nobody is too much here: what ends the client is the revocation.
        let options = Options::default().set(Service::Gateway, "MESSAGES_PER_SECOND", "100000000");
        let platform = TestPlatform::start_with(options).await;
        for (path, frame, sign_of_end) in [
            ("/ws", masked(0x8a, b""), 4101_u16.to_be_bytes().to_vec()),
            (
                "/socket.io/?EIO=4&transport=websocket",
                masked(0x81, b"430[]"),
                vec![0x88, 2, 3, 0xe8],
            ),
        ] {
            let claims = claims(TENANT, "ann", "agent");
            let bearer = format!("Bearer {}", sign(&claims));
            let headers = [("Authorization", &*bearer)];
            let mut socket = handshake_with(platform.gateway(), path, &headers).await.unwrap();
            let (mut from, mut to) = tokio::io::split(socket.get_mut());
            if path != "/ws" {
                to.write_all(&masked(0x81, b"40")).await.unwrap();
            }
            until(&mut from, b"rooms").await;
            let admin = token(TENANT, "1", "admin");
            let revoked = async {
                let request = Request::post("/v1/revocations").bearer(&admin);
                let answer =
                    request.json(&json!({ "jti": claims["jti"] })).send(platform.gateway());
                assert!((200..300).contains(&answer.await.unwrap().status));
                Instant::now()
            };
            let ended = async {
                until(&mut from, &sign_of_end).await;
                Instant::now()
            };
            let both = async { tokio::join!(revoked, ended) };
            let (revoked, ended) = tokio::select! {
                () = flood(&mut to, &frame) => unreachable!(),
                both = both => both,
            };
            let took = ended.saturating_duration_since(revoked);
            assert!(took < Duration::from_secs(1), "{path}: {took:?}");
        }
        platform.finish().await;
    })
    .await;
}

#[tokio::test]
async fn a_flood_of_frames_that_say_nothing_ends_its_client() {
    journey(60, async {
        let platform = TestPlatform::start().await;
        let token = token(TENANT, "ann", "agent");
        let path = format!("/ws?token={token}");
        for frame in [masked(0x8a, b""), masked(0x89, b"?")] {
            let mut socket = handshake_with(platform.gateway(), &path, &[]).await.unwrap();
            let (mut from, mut to) = tokio::io::split(socket.get_mut());
            let code = 4103_u16.to_be_bytes();
            tokio::select! {
                () = flood(&mut to, &frame) => unreachable!(),
                () = until(&mut from, &code) => {}
            }
        }
        platform.finish().await;
    })
    .await;
}

#[tokio::test]
async fn a_page_of_a_foreign_origin_is_refused_in_the_words_of_engine_io() {
    journey(60, async {
        let platform = TestPlatform::start().await;
        for path in ["/socket.io/?EIO=4&transport=polling", "/socket.io?EIO=4&transport=polling"] {
            let request = Request::get(path).header("Origin", "https://elsewhere.example");
            let answer = request.send(platform.gateway()).await.unwrap();
            assert_eq!(answer.status, 403, "{}", answer.text());
            assert_eq!(answer.json(), json!({ "code": 4, "message": "Forbidden" }));
        }
        let request = Request::get("/sse").header("Origin", "https://elsewhere.example");
        let answer = request.send(platform.gateway()).await.unwrap();
        assert_eq!(answer.json()["code"], "origin_not_allowed");
        platform.finish().await;
    })
    .await;
}

/// Sends the beginning of a request and nothing more, and reads the status of the answer.
async fn begin(gateway: SocketAddr, head: &str, body: &[u8]) -> u16 {
    let mut socket = TcpStream::connect(gateway).await.unwrap();
    socket.write_all(format!("{head}\r\nHost: gateway\r\n\r\n").as_bytes()).await.unwrap();
    socket.write_all(body).await.unwrap();
    let mut answer = vec![0; 12];
    let reading = socket.read_exact(&mut answer);
    tokio::time::timeout(Duration::from_secs(50), reading).await.expect("an answer").unwrap();
    String::from_utf8_lossy(&answer).split(' ').nth(1).unwrap().parse().unwrap()
}

#[tokio::test]
async fn a_body_is_read_from_who_is_known_within_its_size_and_time() {
    journey(120, async {
        let platform = TestPlatform::start().await;
        let gateway = platform.gateway();
        let admin = token(TENANT, "1", "admin");
        for path in
            ["/v1/acks", "/v1/commands", "/v1/revocations", "/v1/rebuilds", "/api/ws/broadcast"]
        {
            let head = |rest: &str| format!("POST {path} HTTP/1.1\r\n{rest}");
            let nobody = head("Content-Length: 100");
            assert_eq!(begin(gateway, &nobody, b"{").await, 401, "{path}");
            let long = head(&format!("Authorization: {admin}\r\nContent-Length: 70000"));
            assert_eq!(begin(gateway, &long, &[b' '; 66_000]).await, 413, "{path}");
        }
        let slow =
            format!("POST /v1/commands HTTP/1.1\r\nAuthorization: {admin}\r\nContent-Length: 100");
        assert_eq!(begin(gateway, &slow, b"{").await, 408);
        platform.finish().await;
    })
    .await;
}
