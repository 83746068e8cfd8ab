use super::*;
use crate::campaign::book::tests::{Desk, PLAN, TEN, berlin};

#[tokio::test]
async fn good_lines_are_taken_and_the_others_told_with_their_numbers() {
    let desk = Desk::new().await;
    let campaign = desk.running("c", PLAN, "").await;
    let list = "Name;Phone;Consent\nAda;030 23110000;form 7\nBob;12;\nCy;+49 30 23110000;\nDi;+49 900 1234567;\n\
        Eve;0049 30 23110001;\n";
    let imported = desk.read(&campaign, list).await.unwrap();
    let expected = Imported { lines: 5, taken: 2, duplicates: 1, bad: 2, nowhere: 0 };
    assert_eq!(imported, expected);
    let faults = std::fs::read_to_string(desk.faults()).unwrap();
    let lines: Vec<&str> = faults.lines().collect();
    assert_eq!(lines.len(), 4, "{faults}");
    assert!(
        lines[1].starts_with("3,") && lines[2].starts_with("4,\"its number stands further up"),
        "{faults}"
    );
    assert!(lines[3].starts_with("5,\"it costs more"), "{faults}");
    assert!(!faults.contains("1234567"), "no numbers");
    // What is there already is told, and a list without anything new is none.
    let again = desk.read(&campaign, "number\n030 23110000\n030 23110005\n").await.unwrap();
    assert_eq!((again.taken, again.duplicates), (1, 1));
    assert!(
        std::fs::read_to_string(desk.faults()).unwrap().contains("2,\"its number is in the campaign already")
    );
    assert_eq!(desk.book.counts(campaign.id).await.unwrap().contacts, 3);
}

#[tokio::test]
async fn a_list_that_cannot_be_read_to_its_end_leaves_nothing() {
    let desk = Desk::new().await;
    let campaign = desk.running("c", PLAN, "").await;
    let mut list = berlin(5_000);
    list += "\"an open quotation mark,";
    list += &"x,".repeat(1 << 20);
    let error = desk.read(&campaign, &list).await.unwrap_err();
    assert!(error.to_string().contains("quotation mark left open"), "{error}");
    for (list, what) in [
        ("", "first line has to name"),
        ("name,age\nAda,7\n", "names no column `number`, only name, age"),
        ("number\n12\nsoon\n", "none of its 2 lines"),
    ] {
        let error = desk.read(&campaign, list).await.unwrap_err();
        assert!(error.to_string().contains(what), "{error}");
    }
    assert_eq!(desk.book.counts(campaign.id).await.unwrap().contacts, 0);
    desk.book.stop("c", TEN).await.unwrap();
    assert!(matches!(desk.read(&campaign, &berlin(1)).await, Err(CampaignError::State { .. })));
    assert_eq!(desk.book.counts(campaign.id).await.unwrap().contacts, 0);
}

#[tokio::test]
async fn zones_consent_and_other_writing_are_read() {
    let desk = Desk::new().await;
    let campaign = desk.running("c", &format!("consent_required = true\n{PLAN}"), "").await;
    let list = b"\xef\xbb\xbfnumber\ttime zone\tconsent\tFirst Name\r\n\
        +12024561111\tAmerica/New_York\tweb 1\tZo\xc3\xab\r\n\
        +12024561112\tMars/Olympus\tweb 2\tAl\r\n\
        +12024561113\t\tweb 3\t\r\n\
        +12024561114\tAmerica/New_York\t\tBo\r\n\
        +12024561115\tAmerica/New_York\tweb 5\t\xff\r\n";
    let file = desk.dir.path().join("tabs.csv");
    std::fs::write(&file, list).unwrap();
    let options = ImportOptions { file, faults: desk.faults(), number_column: None, delimiter: None };
    let mut seen = 0;
    let imported =
        desk.book.import(&campaign, &options, TEN, |progress| seen = progress.lines).await.unwrap();
    assert_eq!(imported, Imported { lines: 5, taken: 2, duplicates: 0, bad: 3, nowhere: 1 });
    assert_eq!(seen, 5);
    let faults = std::fs::read_to_string(desk.faults()).unwrap();
    for what in ["3,\"`Mars/Olympus` is no time zone", "5,\"it has no reference", "6,\"it is not UTF-8"] {
        assert!(faults.contains(what), "{faults}");
    }
    let evening = WallTime(TEN.0 + 7 * 3_600_000);
    let engine = crate::campaign::Engine("e".into());
    let claimed = desk.book.claim(&campaign, &engine, "one", evening, 5).await.unwrap().remove(0);
    assert_eq!(
        (claimed.consent.as_deref(), &claimed.variables["first_name"]),
        (Some("web 1"), &"Zoë".into())
    );
}

#[tokio::test]
async fn some_thousand_lines_go_in_and_their_duplicates_are_found_over_batches() {
    let desk = Desk::new().await;
    let campaign = desk.running("c", PLAN, "").await;
    let list = berlin(4_500) + berlin(1_000).split_once('\n').unwrap().1;
    let imported = desk.read(&campaign, &list).await.unwrap();
    assert_eq!((imported.lines, imported.taken, imported.duplicates), (5_500, 4_500, 1_000));
    let faults = std::fs::read_to_string(desk.faults()).unwrap();
    assert_eq!(faults.lines().count(), 1_001);
    assert!(faults.lines().nth(1).unwrap().starts_with("4502,"));
}
