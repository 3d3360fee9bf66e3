//! The rules, as tables.

/// A folder of `src`, and what its files may name: modules of the crate, and outside crates (`std` apart).
pub struct Layer {
    pub folder: &'static str,
    pub modules: &'static str,
    pub crates: &'static str,
    pub may_be_async: bool,
}

/// Folders of the program itself, which puts the layers together.
pub const PROGRAM: &str = "app cli operate";

pub const LAYERS: &[Layer] = &[
    Layer {
        folder: "base",
        modules: "base",
        crates: "hex rand serde subtle thiserror time zeroize",
        may_be_async: false,
    },
    Layer {
        folder: "signal",
        modules: "base signal",
        crates: "aes cbc curve25519_dalek hex hkdf hmac prost rand sha1 sha2 subtle thiserror x25519_dalek zeroize",
        may_be_async: false,
    },
    Layer {
        folder: "wire",
        modules: "base signal wire",
        crates: "aes aes_gcm base64 cbc ctr flate2 hex hkdf hmac md5 pbkdf2 prost rand serde sha2 thiserror zeroize",
        may_be_async: false,
    },
    Layer {
        folder: "storage",
        modules: "base storage",
        crates: "chacha20poly1305 hex hmac rand serde serde_json sha2 sled thiserror tracing zeroize",
        may_be_async: false,
    },
    Layer {
        folder: "account",
        modules: "account base signal storage wire",
        crates: "base64 hex prost rand serde serde_json sha2 thiserror tracing",
        may_be_async: true,
    },
    Layer {
        folder: "webhook",
        modules: "base storage webhook",
        crates: "base64 hmac rand serde serde_json sha2 thiserror url zeroize",
        may_be_async: false,
    },
    Layer {
        folder: "sandbox/world",
        modules: "base sandbox/world signal wire",
        crates: "base64 flate2 hex prost rand ring serde serde_json sha2 thiserror tracing zeroize",
        may_be_async: false,
    },
    Layer {
        folder: "sandbox/serve",
        modules: "base sandbox storage wire",
        crates: "actix_web actix_ws base64 futures_util hex rcgen rustls serde serde_json sha2 thiserror tokio tracing",
        may_be_async: true,
    },
    Layer {
        folder: "actors",
        modules: "account actors base signal storage webhook wire",
        crates: "actix base64 futures_util hex moka percent_encoding prometheus_client rand reqwest rustls serde serde_json subtle \
                 thiserror tokio tokio_rustls tokio_socks tokio_tungstenite tracing url webpki_roots",
        may_be_async: true,
    },
    Layer {
        folder: "http",
        modules: "account actors base http storage webhook",
        crates: "actix_cors actix_web futures_util hex png qrcode serde serde_json serde_path_to_error serde_urlencoded \
                 sha2 subtle tracing url utoipa utoipa_actix_web",
        may_be_async: true,
    },
];

/// Packages whose library has another name.
pub const LIBRARIES: &[(&str, &str)] = &[("md-5", "md5")];

/// What `wire` may take from `signal`: keys, signatures, prekeys. Never a session.
pub const WIRE_FROM_SIGNAL: &str = "IdentityKey IdentityKeyPair KeyPair PreKeyBundle PreKeyId PublicKey SignalError \
                                    SignedPreKeyId SignedPreKeyPair keys testing xeddsa";

/// What every room of `account` may name. Of `children` only the types.
pub const FLOOR: &str = "address turn content children own_device settings view codec error";

/// A room of `account` (a folder, or a file at its top), and the other rooms or files of rooms that it may name.
pub struct Room {
    pub name: &'static str,
    /// Rooms on the floor name others of the floor only where it is said here.
    pub on_floor: bool,
    pub may_name: &'static str,
}

const fn room(name: &'static str, may_name: &'static str) -> Room {
    Room { name, on_floor: false, may_name }
}

const fn floor(name: &'static str, may_name: &'static str) -> Room {
    Room { name, on_floor: true, may_name }
}

/// Which room may name which.
pub const ROOMS: &[Room] = &[
    floor("address", ""),
    floor("codec", "error own_device settings view"),
    floor("error", "codec own_device settings view"),
    floor("own_device", "codec error settings view"),
    floor("settings", "codec error own_device view"),
    floor("view", "codec error own_device settings"),
    floor("content", "codec error own_device settings view"),
    floor("children", "codec error own_device settings view"),
    floor("turn", "children codec content error own_device settings view"),
    room("poison", ""),
    room("directory", "children::session_cipher"),
    room("connection", ""),
    room("prekeys", ""),
    room("media", ""),
    room("restore", "children::restored"),
    room("chats", ""),
    room("calls", "directory"),
    room("privacy", "directory"),
    room("groups", "directory"),
    room("linking", "directory"),
    room("contacts", "directory"),
    room("messages", "directory groups::metadata media::location privacy::tokens"),
    room("channels", "media"),
    room("app_state", "media"),
    room("history", "media"),
    room(
        "features",
        "directory connection prekeys media restore chats calls privacy groups linking contacts messages channels \
         app_state history",
    ),
    room("retention", "features"),
    room("router", "features retention"),
    room("local", "router children"),
];

/// How asks are carried: named by `turn`, and by those that hand the children on to it.
pub const CARRIERS: &str = "Children Ask Machine";
pub const NAME_CARRIERS: &str = "children turn router local";

/// Functions that read JIDs from text of the wire, with their files. Stored text is read by `codec`.
pub const WIRE_TEXT: &[(&str, &str, &str)] = &[
    ("messages/inbound/decrypt.rs", "process_sender_key", "the group of a sender key that a message carries"),
    ("messages/inbound/report.rs", "message", "the destination of a message from another device of ours"),
    ("privacy/mod.rs", "take_history", "people and chats of a history sync"),
    ("directory/mod.rs", "history_pairs", "people of a history sync"),
];

/// Where the records of each owner of `storage/kinds.rs` are named: the owner of the longest prefix has the file.
pub const OWNERS: &[(&str, &[&str])] = &[
    ("Server", &["actors/", "app", "operate", "webhook/"]),
    ("Committer", &["actors/", "app", "operate", "webhook/"]),
    ("SessionCipher", &["account/children/session_cipher", "account/children/restored"]),
    ("SenderKeys", &["account/children/sender_keys", "account/children/member_resets", "account/children/restored"]),
    ("DeviceSync", &["account/children/device_sync"]),
    ("PreKeys", &["account/children/prekeys"]),
    ("Frame", &["account/turn/", "account/poison", "account/retention"]),
    ("Retention", &["account/retention"]),
    ("OwnDevice", &["account/own_device"]),
    ("Directory", &["account/directory/"]),
    ("Connection", &["account/connection/"]),
    ("Media", &["account/media/"]),
    ("Restore", &["account/restore/"]),
    ("Chats", &["account/chats/"]),
    ("Calls", &["account/calls/"]),
    ("Privacy", &["account/privacy/"]),
    ("Groups", &["account/groups/"]),
    ("Linking", &["account/linking/"]),
    ("Contacts", &["account/contacts/"]),
    ("Messages", &["account/messages/"]),
    ("Channels", &["account/channels/"]),
    ("AppState", &["account/app_state/"]),
    ("History", &["account/history/"]),
];

/// Folders without a circle of files.
pub const WITHOUT_CIRCLES: &[&str] = &["account/", "actors/", "http/", "sandbox/world/"];

/// Folders whose files and structs stay small, and what may be larger, with the reason: a file, or a file and a struct.
pub const SMALL: &[&str] = &["account/", "actors/", "http/", "sandbox/"];
pub const MOST_LINES: usize = 400;
pub const MOST_FIELDS: usize = 15;
pub const LARGER: &[(&str, &str)] = &[];

/// Folders without `json!`: bodies and events are structs.
pub const WITHOUT_JSON: &[&str] = &["account/", "http/"];

/// Stanzas that the service sends (`wire-protocol.md` 1.7, 1.8, 1.16): tag, type, first child. `iq` apart: the frame hands
/// responses to the feature that sent the request.
pub const STANZAS: &[(&str, &str, &str)] = &[
    ("success", "", ""),
    ("failure", "", ""),
    ("stream:error", "", ""),
    ("ib", "", "offline_preview"),
    ("ib", "", "offline"),
    ("ib", "", "edge_routing"),
    ("ib", "", "thread_metadata"),
    ("ib", "", "dirty"),
    ("ib", "", "client_expiration"),
    ("ib", "", "tos"),
    ("ib", "", "downgrade_webclient"),
    ("message", "", ""),
    ("receipt", "", ""),
    ("ack", "", ""),
    ("call", "", ""),
    ("notification", "devices", ""),
    ("notification", "encrypt", "count"),
    ("notification", "encrypt", "digest"),
    ("notification", "encrypt", "identity"),
    ("notification", "w:gp2", ""),
    ("notification", "account_sync", ""),
    ("notification", "server_sync", ""),
    ("notification", "privacy_token", ""),
    ("notification", "picture", ""),
    ("notification", "status", ""),
    ("notification", "contacts", ""),
    ("notification", "business", ""),
    ("notification", "psa", ""),
    ("notification", "mediaretry", ""),
    ("notification", "link_code_companion_reg", ""),
    ("notification", "companion_reg_refresh", ""),
    ("notification", "disappearing_mode", ""),
    ("notification", "newsletter", ""),
    ("notification", "mex", ""),
];

/// Stanzas of [`STANZAS`] without a route, with the reason. They are acknowledged and counted.
pub const IGNORED: &[(&str, &str, &str, &str)] = &[
    ("ib", "", "thread_metadata", "a hint for the order of chats; no end of the backlog"),
    ("ib", "", "dirty", "app state is not kept yet"),
    ("ib", "", "client_expiration", "the login is refused with 405 when the version has expired"),
    ("ib", "", "tos", "terms are accepted on the phone"),
    ("ib", "", "downgrade_webclient", "for browsers"),
    ("notification", "server_sync", "", "app state is not kept yet"),
    ("notification", "picture", "", "no room for contacts yet"),
    ("notification", "status", "", "no room for contacts yet"),
    ("notification", "contacts", "", "no room for contacts yet"),
    ("notification", "business", "", "no room for contacts yet"),
    ("notification", "psa", "", "announcements of the service to people"),
    ("notification", "mediaretry", "", "no room for media yet"),
    ("notification", "disappearing_mode", "", "no room for contacts yet"),
    ("notification", "newsletter", "", "no room for channels yet"),
    ("notification", "mex", "", "no room for channels yet"),
];
