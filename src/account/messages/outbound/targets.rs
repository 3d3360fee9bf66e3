//! The fan-out set of a message: its target devices (`wire-protocol.md` 1.11).

use crate::account::children::device_sync::KnownUser;
use crate::account::own_device::Linked;
use crate::wire::Jid;
use std::collections::HashSet;

/// The devices that get a message, in one namespace.
pub(in crate::account) struct Targets {
    pub(in crate::account) to: Jid,
    pub(in crate::account) theirs: Vec<Jid>,
    pub(in crate::account) ours: Vec<Jid>,
}

impl Targets {
    /// By LID when the account is migrated and both sides have one, else by phone number.
    pub(in crate::account) fn choose(
        link: &Linked,
        recipient: &KnownUser,
        ourselves: &KnownUser,
        unreachable: &HashSet<Jid>,
    ) -> Self {
        let by_lid = link.lid_migrated && link.lid.is_some() && recipient.lid.is_some();
        let name = |user: &KnownUser| match (&user.lid, &user.pn) {
            (Some(lid), None) => lid.clone(),
            (Some(lid), Some(_)) if by_lid => lid.clone(),
            (_, Some(pn)) => pn.clone(),
            (None, None) => Jid::service(),
        };
        let to = name(recipient);
        let devices = |user: &KnownUser, bare: &Jid| {
            let devices = user.devices.iter().map(|device| bare.with_device(*device));
            let wanted = |jid: &Jid| !jid.is_hosted() && !link.is_this_device(jid) && !unreachable.contains(jid);
            devices.filter(wanted).collect::<Vec<_>>()
        };
        let own = if by_lid { link.lid.as_ref().unwrap_or(&link.jid).bare() } else { link.jid.bare() };
        let (theirs, mut ours) = (devices(recipient, &to), devices(ourselves, &own));
        ours.retain(|jid| !theirs.contains(jid));
        Self { to, theirs, ours }
    }

    /// All of them, the recipient's first.
    pub(in crate::account) fn all(&self) -> impl Iterator<Item = &Jid> {
        self.theirs.iter().chain(&self.ours)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::time::Timestamp;
    use crate::wire::Server;

    fn link(lid_migrated: bool) -> Linked {
        Linked {
            jid: Jid::pn("1000").with_device(2),
            lid: Some(Jid::new("1", Server::Lid).with_device(2)),
            device_identity: Vec::new(),
            push_name: String::new(),
            linked_at: Timestamp(0),
            lid_migrated,
        }
    }

    fn user(pn: &str, lid: Option<&str>, devices: &[u16]) -> KnownUser {
        let lid = lid.map(|lid| Jid::new(lid, Server::Lid));
        KnownUser { pn: Some(Jid::pn(pn)), lid, devices: devices.to_vec() }
    }

    fn chosen(link: &Linked, recipient: &KnownUser) -> (Vec<String>, Vec<String>) {
        let ourselves = user("1000", Some("1"), &[0, 2, 3]);
        let targets = Targets::choose(link, recipient, &ourselves, &HashSet::new());
        let texts = |jids: &[Jid]| jids.iter().map(Jid::to_string).collect();
        (texts(&targets.theirs), texts(&targets.ours))
    }

    #[test]
    fn one_namespace_is_used_for_all_and_this_device_is_left_out() {
        let (theirs, ours) = chosen(&link(true), &user("2000", Some("2"), &[0, 4]));
        assert_eq!((theirs, ours), (vec!["2@lid".into(), "2:4@lid".into()], vec!["1@lid".into(), "1:3@lid".into()]));
        let (theirs, ours) = chosen(&link(true), &user("2000", None, &[0]));
        assert_eq!(theirs, ["2000@s.whatsapp.net"]);
        assert_eq!(ours, ["1000@s.whatsapp.net", "1000:3@s.whatsapp.net"]);
        let (theirs, _) = chosen(&link(false), &user("2000", Some("2"), &[0]));
        assert_eq!(theirs, ["2000@s.whatsapp.net"]);
    }

    #[test]
    fn hosted_devices_are_left_out() {
        assert_eq!(chosen(&link(true), &user("2000", Some("2"), &[0, 99])).0, ["2@lid"]);
    }

    #[test]
    fn a_message_to_oneself_goes_to_each_device_once() {
        let (theirs, ours) = chosen(&link(true), &user("1000", Some("1"), &[0, 2, 3]));
        assert_eq!((theirs, ours), (vec!["1@lid".into(), "1:3@lid".into()], Vec::<String>::new()));
    }
}
