//! Decides by the mailed link as a browser would: opens the page, fills in its form, sends it.

use crate::domain::approval::Choice;

/// Opens `link`, then approves or rejects what it shows.
///
/// # Errors
/// A sentence for people: the page can't be reached, lacks a field, or refuses the decision.
pub(crate) async fn by_link(link: &str, choice: Choice) -> Result<(), String> {
    let client = reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .map_err(|e| e.to_string())?;
    let page = client.get(link).send().await.map_err(|e| e.to_string())?;
    if !page.status().is_success() {
        return Err(format!("the link was answered {}", page.status()));
    }
    let html = page.text().await.map_err(|e| e.to_string())?;
    let field = |name: &str| {
        hidden_value(&html, name).ok_or_else(|| format!("the page has no field {name}"))
    };
    let reason = match choice {
        Choice::Approve => "Checked in the demo.",
        Choice::Reject => "Not this one: it is still needed.",
    };
    let form = url::form_urlencoded::Serializer::new(String::new())
        .append_pair("decision", choice.as_str())
        .append_pair("reason", reason)
        .append_pair("digest", &field("digest")?)
        .append_pair("form_token", &field("form_token")?)
        .finish();
    let answer = client
        .post(link)
        .header("content-type", "application/x-www-form-urlencoded")
        .body(form)
        .send()
        .await
        .map_err(|e| e.to_string())?;
    if answer.status().is_success() || answer.status().is_redirection() {
        Ok(())
    } else {
        Err(format!("the decision was answered {}", answer.status()))
    }
}

/// The value of a hidden field of that name.
fn hidden_value(html: &str, name: &str) -> Option<String> {
    let wanted = format!("name=\"{name}\"");
    let at = html.find(&wanted)?;
    let start = html[..at].rfind('<')?;
    let tag = &html[start..start + html[start..].find('>')?];
    let value = tag.split("value=\"").nth(1)?.split('"').next()?;
    Some(value.replace("&amp;", "&").replace("&#38;", "&"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hidden_fields_are_found_whatever_their_order() {
        let html = r#"<form><input type="hidden" value="abc" name="digest"><input name="x" value="1"></form>"#;

        assert_eq!(hidden_value(html, "digest").as_deref(), Some("abc"));
        assert_eq!(hidden_value(html, "y"), None);
    }
}
