use super::*;

fn of(tool: &str) -> Classified {
    Classified::of(tool, false)
}

/// A tool of this name, description and arguments (raw JSON of `properties`).
fn tool(name: &str, description: &str, properties: &str) -> Classified {
    of(&format!(
        r#"{{"name":{},"description":{},"inputSchema":{{"type":"object","properties":{properties}}}}}"#,
        json::quote(name),
        json::quote(description)
    ))
}

#[test]
fn the_class_is_what_a_careful_reader_would_say() {
    use RiskClass::{Destructive, Execute, Financial, Read, Write};
    for (name, description, class) in [
        ("delete_image_set", "Delete an image set.", Destructive),
        ("deleteImageSet", "", Destructive),
        ("rm", "", Destructive),
        ("ec2_terminate_instances", "", Destructive),
        ("untag_resource", "Removes tags from a resource", Destructive),
        ("write_file", "Create a new file or completely overwrite an existing one", Destructive),
        ("write_query", "Execute an INSERT, UPDATE or DELETE statement", Destructive),
        ("git_reset", "Unstages everything", Destructive),
        ("pop_message", "Reads the first message and removes it from the queue", Destructive),
        ("get_page", "Deletes a page. Read-only.", Destructive),
        ("list_deleted_items", "List of deleted items", Read),
        ("get_reset_token", "Get the token of a password reset", Read),
        ("read_query", "Execute a SELECT query", Read),
        ("directory_tree", "Get a recursive tree of files", Read),
        ("git_branch", "List branches", Read),
        ("plan", "Shows what would be deleted. Does not delete anything.", Read),
        ("weather", "Returns the weather of a place", Read),
        ("get_or_create_customer", "Gets a customer, or creates one", Write),
        ("git_checkout", "Switches branches", Write),
        ("add_inline_policy", "Add a policy to a role", Write),
        ("execute_query", "Executes any SQL statement", Execute),
        ("browser_evaluate", "Evaluate an expression in the page", Execute),
        ("run_code", "Runs arbitrary code", Execute),
        ("pay_invoice", "Pays an invoice", Financial),
        ("create_refund", "Refund a charge", Financial),
        ("transmogrify", "", Execute),
    ] {
        let found = tool(name, description, "{}");
        assert_eq!(found.class, class, "{name}: {}", found.why());
    }
}

#[test]
fn what_decides_is_quoted_where_it_stands_and_comes_first() {
    let found = tool("write_file", "Create a file or overwrite an existing one", "{}");

    assert_eq!(
        found.why(),
        r#"description says "overwrite"; name says "write"; description says "Create""#
    );
    assert_eq!(tool("transmogrify", "", "{}").why(), "nothing says what it does");
}

#[test]
fn an_argument_that_says_what_is_done_makes_the_class_the_gravest_and_says_by_which_values() {
    let found = tool(
        "manage_resource",
        "Manage a resource",
        r#"{"operation":{"type":"string","enum":["create","read","delete"]},"force":{"type":"boolean"}}"#,
    );

    assert_eq!(found.class, RiskClass::Destructive);
    let flips: Vec<_> =
        found.flips.iter().map(|f| (f.path.as_str(), f.values.join(","), f.class)).collect();
    assert_eq!(
        flips,
        [
            ("args.operation", "\"create\"".to_owned(), RiskClass::Write),
            ("args.operation", "\"delete\"".to_owned(), RiskClass::Destructive),
            ("args.force", "true".to_owned(), RiskClass::Destructive),
        ]
    );
    let told = r#"{"operation":{"type":"string","description":"One of \"create\" or \"delete\""}}"#;
    assert_eq!(tool("manage_thing", "Manage a thing", told).class, RiskClass::Destructive);
}

#[test]
fn a_read_that_can_be_told_to_write_is_no_read_and_one_that_is_forced_stays_one() {
    let writes = r#"{"write":{"type":"boolean"}}"#;
    let forced = r#"{"force":{"type":"boolean"}}"#;

    assert_eq!(tool("get_config", "Get it", writes).class, RiskClass::Write);
    let read = tool("get_config", "Get it", forced);
    assert_eq!((read.class, read.flips.len()), (RiskClass::Read, 0));
}

#[test]
fn operations_that_texts_list_count_as_much_as_those_of_an_enum() {
    let of = |description: &str, operation: &str| {
        let operation = format!(
            r#"{{"operation":{{"type":"string","description":{}}}}}"#,
            json::quote(operation)
        );
        tool("manage_thing", description, &operation).class
    };

    for (description, operation) in [
        ("Manage things", "Operation to perform: create-thing, delete-thing, or get-thing"),
        ("Manage things", "generate, deploy, describe, or delete. Choose \"describe\" to read."),
        ("Manage things.\n\nArgs:\n  operation: one of \"add\", \"remove\", \"list\"", ""),
        ("Manage things.\n- CreateThing (needs leave)\n- DeleteThing (needs leave)", ""),
    ] {
        assert_eq!(of(description, operation), RiskClass::Destructive, "{description} {operation}");
    }
    let reads = "Operation: list-things, get-thing, or describe-thing";
    assert_eq!(of("Manage things", reads), RiskClass::Read);
}

#[test]
fn an_argument_that_narrows_a_list_does_nothing() {
    let action = |words: &str| {
        format!(r#"{{"action":{{"enum":["refund","chargeback"],"description":"{words}"}}}}"#)
    };

    assert_eq!(tool("list_adjustments", "List them", &action("")).class, RiskClass::Read);
    assert_eq!(tool("get_flows", "Get them", &action("To filter by")).class, RiskClass::Read);
    assert_eq!(tool("get_adjustment", "Get one", &action("")).class, RiskClass::Financial);
}

#[test]
fn only_a_word_about_the_whole_tool_makes_it_a_read() {
    let runs = "Execute API operations directly. Some of them are described below at length, and those \
                which need no permission are read-only operations when nothing else is set.";

    assert_eq!(tool("thing", runs, "{}").class, RiskClass::Execute);
    assert_eq!(tool("thing", "Run a read-only query", "{}").class, RiskClass::Read);
    assert_eq!(tool("execute_query", "Execute a PromQL query", "{}").class, RiskClass::Read);
    assert_eq!(tool("execute_query", "Execute a query", "{}").class, RiskClass::Execute);
}

#[test]
fn what_is_formatted_is_lost_only_where_it_is_a_disk() {
    use RiskClass::{Destructive, Read, Write};
    for (name, description, class) in [
        ("format_text", "Format text of a document", Write),
        ("get_clock", "Retrieves and formats the time", Read),
        ("format_disk", "", Destructive),
        ("storage_tool", "Formats the given drive", Destructive),
        ("mouse_drag", "Perform drag and drop between two elements", Write),
    ] {
        assert_eq!(tool(name, description, "{}").class, class, "{name}");
    }
}

#[test]
fn the_act_of_a_name_is_found_behind_words_that_may_be_things() {
    use RiskClass::{Financial, Read, Write};
    for (name, description, class) in [
        ("wfp_list_dispatch_namespaces", "List all dispatch namespaces", Read),
        ("StartReadSetImportJob", "Start an import job", Write),
        ("type", "Returns the type of a value", Read),
        ("publish", "Execute the messages `publish` operation.", Write),
        ("close_position", "Closes a position", Financial),
        ("receive_payment", "Record a payment", Financial),
    ] {
        assert_eq!(tool(name, description, "{}").class, class, "{name}");
    }
    let hostile = tool("list_purge_queues", "List all queues", "{}");
    assert_eq!(hostile.class, Read);
    assert_eq!(tool("mailing_list_remove", "List them", "{}").class, RiskClass::Destructive);
}

#[test]
fn what_is_run_is_told_from_what_is_looked_for() {
    let code = r#"{"code":{"type":"string"}}"#;

    assert_eq!(tool("sandbox", "Executes a snippet", code).class, RiskClass::Execute);
    assert_eq!(tool("search_code", "Search for code", code).class, RiskClass::Read);
    assert_eq!(tool("get_country", "Get a country by its code", code).class, RiskClass::Read);
}

#[test]
fn annotations_only_make_it_graver_unless_they_are_trusted() {
    let mild = r#"{"name":"delete_all","annotations":{"readOnlyHint":true}}"#;
    let grave =
        r#"{"name":"edit_file","annotations":{"readOnlyHint":false,"destructiveHint":true}}"#;
    let no_read = r#"{"name":"get_ticket","annotations":{"readOnlyHint":false}}"#;

    assert_eq!(of(mild).class, RiskClass::Destructive);
    assert_eq!(Classified::of(mild, true).class, RiskClass::Read);
    assert_eq!((of(grave).class, of(grave).severity), (RiskClass::Destructive, Severity::Medium));
    assert_eq!(of(no_read).class, RiskClass::Write);
}

#[test]
fn the_severity_is_what_can_be_made_good_again_and_how_far_it_reaches() {
    for (name, description, severity) in [
        ("list_files", "", Severity::Low),
        ("get_secret", "", Severity::Medium),
        ("rename_file", "", Severity::Medium),
        ("send_email", "", Severity::High),
        ("run_workflow", "", Severity::High),
        ("run_shell", "Runs a shell command", Severity::Critical),
        ("remove_label", "", Severity::High),
        ("revoke_key", "", Severity::High),
        ("delete_database", "", Severity::Critical),
        ("delete_image_set", "Delete an image set.", Severity::Critical),
        ("remove_label", "This cannot be undone.", Severity::Critical),
        ("pay_invoice", "", Severity::Critical),
        ("create_refund", "", Severity::High),
    ] {
        assert_eq!(tool(name, description, "{}").severity, severity, "{name}");
    }
}

#[test]
fn hostile_definitions_are_read_without_harm() {
    for odd in ["", "[]", "{}", r#"{"name":7}"#, r#"{"name":"","inputSchema":[]}"#] {
        assert_eq!(of(odd).class, RiskClass::Execute, "{odd}");
    }
    let long = format!("Deletes İ{}", "deletes ".repeat(100_000));
    assert_eq!(tool("İstanbul", &long, "{}").class, RiskClass::Destructive);
    assert!(tool(&"x".repeat(100_000), "", "{}").evidence[0].quote.chars().count() <= MAX_QUOTE);
}

/// Tools of real servers, each with the class that a careful reader gives it: class, server, name and
/// what it does, in words of ours.
const LABELLED: &str = include_str!("labelled.txt");

#[test]
fn real_tools_are_classed_as_a_careful_reader_does() {
    let (mut reads, mut reads_right, mut wrong) = (0, 0, Vec::new());
    let mut all = 0;
    for line in LABELLED.lines() {
        let mut parts = line.split('\t');
        let [Some(class), Some(server), Some(name), Some(words)] = [(); 4].map(|()| parts.next())
        else {
            panic!("{line}")
        };
        let class = RiskClass::parse(class).unwrap();
        let found = tool(name, words, "{}");
        all += 1;
        if class == RiskClass::Read {
            reads += 1;
            reads_right += usize::from(found.class == class);
        }
        if class == RiskClass::Destructive {
            assert!(found.class >= RiskClass::Execute, "{server} {name}: {}", found.why());
        }
        if found.class != class {
            wrong.push(format!(
                "{server} {name}: {} for {}: {}",
                found.class.as_str(),
                class.as_str(),
                found.why()
            ));
        }
    }

    assert!(reads_right * 100 >= reads * 97, "{reads_right} of {reads} reads: {wrong:#?}");
    assert!(wrong.len() * 100 <= all * 5, "{} of {all} are wrong: {wrong:#?}", wrong.len());
}
