//! Where an upstream leads, without the secrets that addresses and command lines hold.

use super::Masker;

/// How many letters and digits in a row, with both among them, look like a key.
const KEY_LIKE: usize = 20;

impl Masker {
    /// An upstream's address, or its program and arguments, as the configuration has them, with
    /// secrets masked: values of a query, passwords in addresses, values of flags and headers with
    /// a secret name, and anything that looks like a key. Variables (`${NAME}`) stay as they are.
    pub fn mask_target(&self, words: &[String]) -> Vec<String> {
        let mut before = "";
        let mut shown = Vec::with_capacity(words.len());
        for word in words {
            let flag = before.strip_prefix('-').map(|f| f.trim_start_matches('-'));
            let secret = !word.starts_with('-') && flag.is_some_and(|f| self.is_secret(f, &[]));
            shown.push(if secret { self.hidden(word) } else { self.mask_word(word) });
            before = word;
        }
        shown
    }

    fn mask_word(&self, word: &str) -> String {
        if let Some(at) = self.value_of_secret(word) {
            return format!("{}{}", &word[..at], self.hidden(&word[at..]));
        }
        match word.split_once("://") {
            Some((scheme, rest)) => {
                format!("{}://{}", self.keys_in(scheme), self.mask_address(rest))
            }
            None => self.keys_in(word),
        }
    }

    /// The byte offset at which the value of a secret name begins, as in `--api-key=…`.
    fn value_of_secret(&self, word: &str) -> Option<usize> {
        let mut from = 0;
        for (at, c) in word.char_indices() {
            if matches!(c, '=' | ':') {
                let name = word[from..at].trim_start_matches(['-', ' ']);
                if !word[at..].starts_with("://") && self.is_secret(name, &[]) {
                    return Some(at + 1);
                }
            }
            if matches!(c, '=' | ':' | ' ' | ',' | ';' | '?' | '&' | '"' | '\'' | '{') {
                from = at + c.len_utf8();
            }
        }
        None
    }

    /// What comes after `scheme://`.
    fn mask_address(&self, rest: &str) -> String {
        let (rest, fragment) = rest.split_once('#').map_or((rest, None), |(r, f)| (r, Some(f)));
        let (place, query) = rest.split_once('?').map_or((rest, None), |(p, q)| (p, Some(q)));
        let (host, path) = place.find('/').map_or((place, ""), |at| place.split_at(at));
        let mut out = match host.rsplit_once('@') {
            Some((user, host)) => match user.split_once(':') {
                Some((user, password)) => {
                    format!("{}:{}@{host}", self.keys_in(user), self.hidden(password))
                }
                None => format!("{}@{host}", self.hidden(user)),
            },
            None => host.to_owned(),
        };
        out.push_str(&self.keys_in(path));
        if let Some(query) = query {
            let pairs = query.split('&').map(|pair| match pair.split_once('=') {
                Some((name, value)) => format!("{}={}", self.keys_in(name), self.hidden(value)),
                None => self.hidden(pair),
            });
            out.push('?');
            out.push_str(&pairs.collect::<Vec<_>>().join("&"));
        }
        if let Some(fragment) = fragment {
            out.push('#');
            out.push_str(&self.hidden(fragment));
        }
        out
    }

    /// The text with everything masked that looks like a key.
    pub(super) fn keys_in(&self, text: &str) -> String {
        let part_of_key = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '+');
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(first) = rest.chars().next() {
            let end = rest.find(|c| part_of_key(c) != part_of_key(first)).unwrap_or(rest.len());
            let (piece, more) = rest.split_at(end);
            let has = |what: fn(&char) -> bool| piece.chars().any(|c| what(&c));
            let key = piece.len() >= KEY_LIKE
                && part_of_key(first)
                && has(char::is_ascii_digit)
                && has(char::is_ascii_alphabetic);
            out.push_str(&if key { self.mask_of(piece) } else { piece.to_owned() });
            rest = more;
        }
        out
    }

    /// The mask of a text; a text that is empty or only names a variable stays.
    fn hidden(&self, text: &str) -> String {
        let inner = text.trim().strip_prefix("${").and_then(|t| t.strip_suffix('}'));
        let named = inner.is_some_and(|n| n.chars().all(|c| c.is_ascii_alphanumeric() || c == '_'));
        if named || text.is_empty() { text.to_owned() } else { self.mask_of(text) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(words: &[&str]) -> String {
        let masker = Masker::new(&["token".into(), "api_key".into(), "authorization".into()], b"k");
        masker.mask_target(&words.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>()).join(" ")
    }

    #[test]
    fn no_secret_of_an_address_or_command_is_shown() {
        for words in [
            &["https://ann:hunter2@example.org/mcp"][..],
            &["https://hunter2@example.org/mcp"],
            &["https://example.org/mcp?x=hunter2&y=1"],
            &["https://example.org/mcp?hunter2"],
            &["https://example.org/mcp#hunter2"],
            &["server", "--token", "hunter2"],
            &["server", "--api-key=hunter2"],
            &[
                "npx",
                "mcp-remote",
                "https://example.org",
                "--header",
                "Authorization: Bearer hunter2",
            ],
            &["server", "--header=Authorization:hunter2"],
            &["env", "GITHUB_TOKEN=hunter2", "server"],
            &["server", "postgres://u:hunter2@db/x"],
            &["server", "--db=postgres://u:hunter2@db/x"],
        ] {
            let text = shown(words);
            assert!(!text.contains("hunter2"), "{text}");
            assert!(text.contains("‹masked, "), "{text}");
        }
        let key = "sk_live_51H8abcdEFGH0123456789";
        for word in
            [format!("https://example.org/s/{key}/mcp"), key.to_owned(), format!("--x={key}")]
        {
            let text = shown(&[&word]);
            assert!(!text.contains(key), "{text}");
        }
    }

    #[test]
    fn what_is_no_secret_stays_as_the_configuration_has_it() {
        for words in [
            &["http://127.0.0.1:9100/mcp"][..],
            &["https://example.org:8443/tenant/mcp"],
            &["https://example.org/mcp?key=${KEY}"],
            &["npx", "-y", "@modelcontextprotocol/server-everything@2025.9.25", "stdio"],
            &["/usr/local/bin/server", "--root", "/srv/data", "--token", "${TOKEN}"],
            &["server", "--token", "--verbose"],
            &["python3", "-m", "server", "--level=info"],
        ] {
            assert_eq!(shown(words), words.join(" "));
        }
    }
}
