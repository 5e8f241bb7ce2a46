//! Who is there, over all gateways: listed, followed, forgotten when it is really gone.

use std::time::Duration;

use serde_json::{Value as Json, json};

use crate::checker::{History, Start};
use crate::clients::socketio::SocketIo;
use crate::clients::token;
use crate::clients::websocket::WebSocket;
use crate::harness::cast::{admin, agent, journey};
use crate::harness::{Options, Service, TENANT, TestPlatform, eventually};

const ROOM: &str = "contact:c-1";

async fn two_gateways(grace: &str) -> TestPlatform {
    let options = Options::default()
        .two_gateways()
        .set(Service::Gateway, "PRESENCE_GRACE_MS", grace)
        .set(Service::SecondGateway, "PRESENCE_GRACE_MS", grace);
    TestPlatform::start_with(options).await
}

async fn list(socket: &mut WebSocket, payload: Json) -> Json {
    let answer = socket.request("presence:list", payload).await.unwrap();
    assert_eq!(answer["type"], "ack", "{answer}");
    answer["payload"].clone()
}

/// Asks until these are there, each with as many devices.
async fn expect(socket: &mut WebSocket, users: &[(&str, u64)]) {
    let expected: Vec<_> = users.iter().map(|(name, count)| json!([name, count])).collect();
    eventually(Duration::from_secs(10), "who is in the room", async || {
        let answer = list(socket, json!({ "channel": ROOM })).await;
        let listed = answer["users"].as_array().unwrap().iter();
        let listed: Vec<_> = listed.map(|it| json!([it["userId"], it["devices"]])).collect();
        answer["complete"] == true && listed == expected
    })
    .await;
}

/// The next update.
async fn update(socket: &mut WebSocket) -> Json {
    socket.wait_for("presence:update").await.unwrap()["payload"].clone()
}

async fn in_room(history: &History, name: &str, to: std::net::SocketAddr) -> WebSocket {
    let mut socket = agent(history, name);
    socket.connect(to).await.unwrap();
    socket.join(ROOM, Start::Now).await.unwrap();
    socket
}

#[tokio::test]
async fn who_is_in_a_channel_is_listed_over_all_gateways_and_followed_by_who_asks() {
    journey(120, async {
        let (platform, history) = (two_gateways("1500").await, History::new());
        let [first, second] = [platform.gateway(), platform.second_gateway()];
        let mut ann = in_room(&history, "ann", first).await;
        let _bob = in_room(&history, "bob", second).await;
        // Dan is where Ann is and does not ask.
        let mut dan = in_room(&history, "dan", first).await;
        expect(&mut ann, &[("ann", 1), ("bob", 1), ("dan", 1)]).await;
        let listed = list(&mut ann, json!(ROOM)).await;
        assert_eq!((&listed["channel"], &listed["count"]), (&json!(ROOM), &json!(3)), "{listed}");
        let bobs = json!({ "userId": "bob", "status": "online", "devices": 1 });
        assert_eq!(listed["users"][1], bobs, "{listed}");

        // Somebody comes, with one device and then with another.
        let mut cleo = in_room(&history, "cleo", second).await;
        let told = update(&mut ann).await;
        let expected = json!({
            "userId": "cleo", "status": "online", "devices": 1, "channel": ROOM,
            "timestamp": told["timestamp"],
        });
        assert_eq!(told, expected);
        let mut phone = in_room(&history, "cleo", first).await;
        assert_eq!(update(&mut ann).await["devices"], 2);

        // One leaves the room, the other is cut off.
        phone.leave(ROOM).await.unwrap();
        let told = update(&mut ann).await;
        assert_eq!((&told["userId"], &told["devices"]), (&json!("cleo"), &json!(1)), "{told}");
        cleo.cut();
        let told = update(&mut ann).await;
        assert_eq!(
            (&told["userId"], &told["status"]),
            (&json!("cleo"), &json!("offline")),
            "{told}"
        );
        assert!(told["lastSeen"].is_string(), "{told}");
        expect(&mut ann, &[("ann", 1), ("bob", 1), ("dan", 1)]).await;

        // He has heard nothing of all this.
        dan.send(&json!({ "type": "ping" })).await.unwrap();
        let next = dan.next(Duration::from_secs(10)).await.unwrap();
        assert_eq!(next["type"], "pong", "{next}");
        platform.finish().await;
    })
    .await;
}

#[tokio::test]
async fn a_reload_and_a_change_of_gateways_are_no_leave() {
    journey(120, async {
        let (platform, history) = (two_gateways("5000").await, History::new());
        let [first, second] = [platform.gateway(), platform.second_gateway()];
        let mut ann = in_room(&history, "ann", first).await;
        let mut bob = in_room(&history, "bob", first).await;
        expect(&mut ann, &[("ann", 1), ("bob", 1)]).await;
        // The network changes; then the page is loaded anew.
        bob.cut();
        bob.resume(second).await.unwrap();
        bob.cut();
        let _page = in_room(&history, "bob", second).await;
        let dora = in_room(&history, "dora", second).await;
        // That he has two devices may be told, when the new one is seen before the old one's end.
        let told = loop {
            let told = update(&mut ann).await;
            if told["userId"] != "bob" {
                break told;
            }
            assert_eq!(told["status"], "online", "{told}");
        };
        assert_eq!(told["userId"], "dora", "{told}");
        expect(&mut ann, &[("ann", 1), ("bob", 1), ("dora", 1)]).await;
        drop(dora);
        let told = loop {
            let told = update(&mut ann).await;
            if told["status"] == "offline" {
                break told;
            }
        };
        assert_eq!(
            (&told["userId"], &told["status"]),
            (&json!("dora"), &json!("offline")),
            "{told}"
        );
        platform.finish().await;
    })
    .await;
}

#[tokio::test]
async fn admins_see_who_comes_and_goes_also_when_a_gateway_is_killed() {
    journey(120, async {
        let (mut platform, history) = (two_gateways("500").await, History::new());
        let mut boss = admin(&history, "boss");
        boss.connect(platform.gateway()).await.unwrap();
        let mut bob = agent(&history, "bob");
        bob.connect(platform.second_gateway()).await.unwrap();
        let told = update(&mut boss).await;
        let expected = json!({
            "userId": "bob", "status": "online", "devices": 1, "timestamp": told["timestamp"],
        });
        assert_eq!(told, expected);
        let mut cleo = agent(&history, "cleo");
        cleo.connect(platform.gateway()).await.unwrap();
        assert_eq!(update(&mut boss).await["userId"], "cleo");

        platform.kill(Service::SecondGateway);
        let told = update(&mut boss).await;
        assert_eq!(
            (&told["userId"], &told["status"]),
            (&json!("bob"), &json!("offline")),
            "{told}"
        );
        // Everybody is in `system`.
        let listed = list(&mut boss, json!("system")).await;
        let users = listed["users"].as_array().unwrap();
        assert_eq!((users.len(), &listed["complete"]), (2, &json!(true)), "{listed}");

        // A gateway that starts learns who is there.
        platform.restart(Service::SecondGateway).await;
        bob.connect(platform.second_gateway()).await.unwrap();
        assert_eq!(update(&mut boss).await["status"], "online");
        eventually(Duration::from_secs(10), "the new gateway knows all", async || {
            let listed = list(&mut bob, json!("system")).await;
            listed["count"] == 3 && listed["complete"] == true
        })
        .await;
        platform.finish().await;
    })
    .await;
}

#[tokio::test]
async fn presence_is_for_those_who_may_join_and_stays_within_a_tenant() {
    journey(120, async {
        let (platform, history) = (two_gateways("500").await, History::new());
        let [first, second] = [platform.gateway(), platform.second_gateway()];
        let mut ann = in_room(&history, "ann", first).await;
        let stranger = token::token("other", "eve", "agent");
        let mut eve = WebSocket::new(&history, "eve", &stranger, &["team", "system", "user:eve"]);
        eve.connect(second).await.unwrap();
        eve.join(ROOM, Start::Now).await.unwrap();
        expect(&mut eve, &[("eve", 1)]).await;
        expect(&mut ann, &[("ann", 1)]).await;
        assert_eq!(list(&mut eve, json!("system")).await["count"], 1);

        let own = token::token(TENANT, "uma", "user");
        let mut uma = WebSocket::new(&history, "uma", &own, &["system", "user:uma"]);
        uma.connect(first).await.unwrap();
        for channel in [json!(ROOM), json!({ "channel": "team" }), json!("no:such")] {
            let answer = uma.request("presence:list", channel).await.unwrap();
            assert_eq!(answer["payload"]["code"], "forbidden", "{answer}");
        }
        let answer = uma.request("presence:list", json!({})).await.unwrap();
        assert_eq!(answer["payload"]["code"], "bad_payload", "{answer}");
        platform.finish().await;
    })
    .await;
}

#[tokio::test]
async fn socket_io_clients_list_by_their_callback_and_follow_by_events() {
    journey(120, async {
        let (platform, history) = (two_gateways("500").await, History::new());
        let own = token::token(TENANT, "ann", "agent");
        let mut ann = SocketIo::new(&history, "ann", &own, &["team", "system"]);
        ann.connect(platform.gateway(), json!({ "transports": ["websocket"] })).await;
        ann.request("subscribe:contact", json!(["c-1"])).await;
        let answer = ann.request("presence:list", json!([ROOM])).await;
        assert_eq!((&answer["ok"], &answer["channel"]), (&json!(true), &json!(ROOM)), "{answer}");
        let anns = json!([{ "userId": "ann", "status": "online", "devices": 1 }]);
        assert_eq!(answer["users"], anns, "{answer}");
        let again = ann.request("presence:list", json!([{ "channel": ROOM }])).await;
        assert_eq!(again["users"], anns, "{again}");
        let bob = in_room(&history, "bob", platform.second_gateway()).await;
        let event = ann.event("presence:update").await;
        assert_eq!(event["args"][0]["userId"], "bob", "{event}");
        drop(bob);
        let event = ann.event("presence:update").await;
        assert_eq!(event["args"][0]["status"], "offline", "{event}");
        let refused = ann.request("presence:list", json!(["admin"])).await;
        assert_eq!((&refused["ok"], &refused["code"]), (&json!(false), &json!("forbidden")));
        platform.finish().await;
    })
    .await;
}
