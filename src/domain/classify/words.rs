//! What the words of tools' names and descriptions say of what a tool does.

use std::collections::HashMap;
use std::sync::LazyLock;

use crate::domain::risk::RiskClass;

/// What a word says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sense {
    /// The class of what it names.
    pub class: RiskClass,
    /// It is as often the name of a thing, or of what is done to one, as of an act.
    pub is_noun_too: bool,
}

/// Acts that can't be taken back, in the languages identifiers are written in.
const DESTRUCTIVE: &str = "annihilate arrpop arrtrim borrar cancellare decommission del delete deprovision deregister destroy discard \
    drop effacer eliminar eliminare entfernen erase evict excluir expunge flush forget kill lpop lrem ltrim loeschen löschen nuke obliterate offboard overwrite prune purge reap reimage \
    reinitialize remove remover reset revoke rm rmdir scrub shred supprimer teardown terminate \
    trash truncate unbind uninstall unlink unpublish unregister wipe zap";
/// The same, as often names of things.
const DESTRUCTIVE_NOUNS: &str = "cleanup clear deletion empty purging removal termination";

const FINANCIAL: &str = "bezahlen buy disburse donate overdraw pagar pay payer payout purchase refund reimburse remit \
    repay sell ueberweisen withdraw überweisen";
const FINANCIAL_NOUNS: &str =
    "cash charge checkout donation funds money payment payouts refunds trade wire withdrawal";

const EXECUTE: &str = "ausfuehren call compile deploy dispatch ejecutar eval evaluate exec execute executer inject \
    interact invoke launch reexecute rerun run shell spawn ssh sudo trigger";
const EXECUTE_NOUNS: &str = "bash command process repl script sql terminal";

const WRITE: &str = "abort accept acknowledge activate actualizar add adjust aendern aggiornare aktualisieren \
    allocate amend anlegen append apply approve archive assign associate attach atualizar \
    authenticate authorize ban bind block book bump cancel cherrypick click clone close commit complete \
    configure confirm connect copy cordon crear creare create creer criar crop customize deactivate decr decrement defer demote \
    deny detach dial disable disassociate disconnect dismiss downgrade drag draw drive duplicate \
    edit emit emulate enable enqueue enroll enviar envoyer exercise erstellen escribir extend fax fill \
    follow fork format generate grant handle highlight hover import incr increment init initialize insert install \
    invite join leave like lock login logout make manage mark merge migrate mkdir modify move mutate mute mv \
    navigate notify onboard open patch pause pin place populate post prepend press print promote \
    provision publish pull push put react receive rebase reboot record redo register reject release \
    rename reopen reinvite reorder replace reply reschedule resend resize respond restart restore resume retry \
    retweet revert rewind rewrite ring rollback rotate save scale schedule schreiben send senden \
    set setup share sign skip snooze squash stage star start stash stop store submit \
    subscribe suspend swap switch sync synchronize tag toggle touch transfer transition type \
    unarchive unassign unban unblock uncordon undo unfollow unlock unmute unpin unresolve \
    unshare unstage unstar unsubscribe untag update upgrade upload upsert vote water write";
const WRITE_NOUNS: &str = "branch change comment draft email gzip invoice issue job label link mail media memory \
    message new note option order pr request select subscription tweet zip";
/// Of [`WRITE`], those that are things as often.
const WRITES_THAT_ARE_THINGS: &str = "archive block book call clone commit copy fork import lock merge move open patch pin place \
    post push record release reply scale schedule set setup share sign stage start stash stop \
    store tag touch transfer transition type update upgrade upload vote";

const READ: &str = "abrufen access aggregate analyse analyze ask audit browse buscar calc calculate capture cat \
    check chercher classify compare compute convert count crawl debug decode demonstrate \
    describe detect diagnose diff discover display download dump echo encode enumerate estimate \
    evaluate_policy examine explain explore export extract fetch filter find forecast geocode \
    get grep head hello holen identify inspect introspect leer lesen lire list listar lister \
    load locate lookup ls measure monitor observe obtener obtenir obter ottenere parse peek ping \
    poll predict preview probe profile query rank read recall recommend render report resolve \
    retrieve return review sample scan scrape screenshot search see show simulate snapshot stat stats \
    suchen suggest summarise summarize tail take tell test think trace translate validate verify \
    view wait watch whoami";
/// The same, as often names of things.
const READ_NOUNS: &str = "about balance capabilities config configuration content details docs documentation events \
    guide health help history info information insights instructions manual log logs messages metadata metrics news \
    overview requests schema sequentialthinking statistics status summary tabs thinking time \
    tree usage version weather";
/// Of [`READ`], those that are things as often.
const READS_THAT_ARE_THINGS: &str = "access audit capture check count diff download dump export filter find forecast head list \
    load log monitor preview profile query rank report review sample scan screenshot search \
    snapshot stat stats test trace view wait watch";

/// What is lost when it is formatted; text and tables are not.
pub(super) const DISKS: &str = "card device disk disks drive drives filesystem partition volume";

/// Acts that are of another class when they are done to these.
const PAIRS: [(&str, &str, RiskClass); 11] = [
    ("place submit execute", "order orders trade bet", RiskClass::Financial),
    ("start", "search searches query", RiskClass::Read),
    ("create initiate make", "transfer transfers deposit deposits", RiskClass::Financial),
    ("record receive", "payment payments", RiskClass::Financial),
    ("close liquidate exercise", "position positions", RiskClass::Financial),
    ("replace", "order orders", RiskClass::Financial),
    ("format", DISKS, RiskClass::Destructive),
    (
        "simulate",
        "click drag event input key keypress keystroke keystrokes press swipe tap touch",
        RiskClass::Write,
    ),
    ("finalize settle capture", "invoice payment bill", RiskClass::Financial),
    (
        "start send open create interact",
        "process command terminal shell script repl keystrokes",
        RiskClass::Execute,
    ),
    (
        "resolve",
        "issue thread comment conflict incident alert ticket case dispute conversation discussion",
        RiskClass::Write,
    ),
];

/// The class of an act that is done to one of these, where it is another than the act's own.
pub(super) fn class_of_pair<'w>(
    act: &str,
    mut objects: impl Iterator<Item = &'w str>,
) -> Option<RiskClass> {
    let in_list = |list: &str, word: &str| list.split_whitespace().any(|one| one == word);
    let fitting = PAIRS.into_iter().filter(|(acts, ..)| in_list(acts, act)).collect::<Vec<_>>();
    objects.find_map(|object| {
        fitting.iter().find(|(_, objects, _)| in_list(objects, object)).map(|(.., class)| *class)
    })
}

/// What a word says, if it says anything; lower case.
pub(super) fn sense(word: &str) -> Option<Sense> {
    static ALL: LazyLock<HashMap<&str, Sense>> = LazyLock::new(all);
    ALL.get(word).copied()
}

fn all() -> HashMap<&'static str, Sense> {
    use RiskClass::{Destructive, Execute, Financial, Read, Write};
    let lists: [(&str, RiskClass, bool); 10] = [
        (READ_NOUNS, Read, true),
        (READ, Read, false),
        (WRITE_NOUNS, Write, true),
        (WRITE, Write, false),
        (EXECUTE_NOUNS, Execute, true),
        (EXECUTE, Execute, false),
        (FINANCIAL_NOUNS, Financial, true),
        (FINANCIAL, Financial, false),
        (DESTRUCTIVE_NOUNS, Destructive, true),
        (DESTRUCTIVE, Destructive, false),
    ];
    let mut all = HashMap::new();
    for (list, class, noun) in lists {
        for word in list.split_whitespace() {
            all.insert(word, Sense { class, is_noun_too: noun });
        }
    }
    for list in [WRITES_THAT_ARE_THINGS, READS_THAT_ARE_THINGS] {
        for word in list.split_whitespace() {
            all.entry(word).and_modify(|sense| sense.is_noun_too = true);
        }
    }
    all
}

/// What a word of a sentence says, in whatever form the verb stands there.
pub(super) fn sense_in_prose(word: &str) -> Option<Sense> {
    if let Some(sense) = sense(word) {
        return Some(sense);
    }
    for (ending, instead) in ENDINGS {
        let Some(stem) = word.strip_suffix(ending) else { continue };
        if stem.len() >= 2
            && let Some(sense) = sense(&format!("{stem}{instead}"))
        {
            return Some(sense);
        }
    }
    None
}

/// The endings of verbs in sentences, and what the plain form has instead.
const ENDINGS: [(&str, &str); 8] = [
    ("ies", "y"),
    ("pping", "p"),
    ("tting", "t"),
    ("nning", "n"),
    ("es", ""),
    ("s", ""),
    ("ing", ""),
    ("ing", "e"),
];
