//! Where a number is, as a time zone.
//!
//! A contact may say its zone. Otherwise it is that of the number's country, by the table `zone.tab` that comes with the
//! system's time zone database and is kept by those who keep that; so it is as fresh as the system. Of countries with
//! several zones a number does not say in which it is: nobody is called there, unless the campaign says
//! `several_zones = "all"`, and then only while the window is open in every zone of the country.
//!
//! In the book a place is a short text, a [`Place`]: the name of a zone, or `*US` for all zones of a country.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use super::hours::Zone;

/// Where somebody is, as the book keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Place(String);

impl Place {
    /// The text of the book.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// What a campaign does about a country with several zones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SeveralZones {
    /// Nobody is called whose zone is not known.
    #[default]
    Never,
    /// The window has to be open in all of them.
    All,
}

/// The zones of all countries, and those that have been asked for. Any thread.
#[derive(Debug, Default)]
pub struct Zones {
    /// The zones of a country, with those left out whose clocks have long run as another one's.
    of_country: BTreeMap<String, Vec<String>>,
    known: Mutex<HashMap<String, Option<Zone>>>,
}

impl Zones {
    /// Reads the system's table: `zone.tab` in the folder that `TZDIR` names, or in `/usr/share/zoneinfo`. Without one no
    /// country's zone is known, and only contacts with a zone of their own are called. Blocks on the disk.
    #[must_use]
    pub fn of_system() -> Arc<Self> {
        let folders = std::env::var_os("TZDIR").map(PathBuf::from).into_iter();
        let folders = folders.chain([PathBuf::from("/usr/share/zoneinfo")]);
        let text = folders.map(|folder| folder.join("zone.tab")).find_map(|path| read(&path));
        if text.is_none() {
            tracing::warn!(
                "there is no zone.tab in /usr/share/zoneinfo: contacts need a column with their zone, or the package tzdata"
            );
        }
        Arc::new(Self::parse(&text.unwrap_or_default()))
    }

    /// Reads such a table: country, coordinates, zone, comment, separated by tabs.
    #[must_use]
    pub fn parse(table: &str) -> Self {
        let mut of_country: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for line in table.lines().filter(|line| !line.starts_with('#')) {
            let mut fields = line.split('\t');
            if let (Some(country), Some(zone)) = (fields.next(), fields.nth(1)) {
                of_country.entry(country.to_owned()).or_default().push(zone.to_owned());
            }
        }
        for zones in of_country.values_mut().filter(|zones| zones.len() > 1) {
            merge(zones);
        }
        Self { of_country, known: Mutex::default() }
    }

    /// Where a contact is: at `zone`, which it says, or by its country, as `DE`; [`None`] when that is not known.
    #[must_use]
    pub fn place(&self, zone: Option<&str>, country: Option<&str>, several: SeveralZones) -> Option<Place> {
        if let Some(zone) = zone {
            // What the contact says and nobody knows is not replaced by a guess.
            let plain = !zone.starts_with('*');
            return (plain && self.zone_named(zone).is_some()).then(|| Place(zone.to_owned()));
        }
        let country = country?;
        match (self.of_country.get(country)?.as_slice(), several) {
            ([one], _) => Some(Place(one.clone())),
            ([_, ..], SeveralZones::All) => Some(Place(format!("*{country}"))),
            _ => None,
        }
    }

    /// The clock of a place; [`None`] when this system does not know it any more, and then nobody there is called.
    #[must_use]
    pub fn zone(&self, place: &str) -> Option<Zone> {
        self.zone_named(place)
    }

    fn zone_named(&self, name: &str) -> Option<Zone> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(zone) = known.get(name) {
            return zone.clone();
        }
        let zone = match name.strip_prefix('*') {
            Some(country) => {
                self.of_country.get(country).and_then(|zones| Zone::all(zones.iter().map(String::as_str)))
            }
            None => Zone::named(name),
        };
        // Names come out of files: nobody may make this grow.
        if known.len() < 2_000 {
            known.insert(name.to_owned(), zone.clone());
        }
        zone
    }
}

/// Leaves out zones whose clocks will show the same as an earlier one's (Busingen and Berlin): one of them is enough.
fn merge(zones: &mut Vec<String>) {
    let mut clocks: Vec<Vec<(i64, i32)>> = Vec::new();
    zones.retain(|name| {
        let Some(clock) = clock(name) else { return true };
        let is_new = !clocks.contains(&clock);
        if is_new {
            clocks.push(clock);
        }
        is_new
    });
}

/// The changes of a zone's clock from 2024 to 2037, which is as far as such tables go.
fn clock(name: &str) -> Option<Vec<(i64, i32)>> {
    let zone = jiff::tz::TimeZone::get(name).ok()?;
    let (from, until) = (1_704_067_200, 2_145_916_800);
    let from = jiff::Timestamp::from_second(from).ok()?;
    let changes =
        zone.following(from).map(|change| (change.timestamp().as_second(), change.offset().seconds()));
    let mut clock = vec![(0, zone.to_offset(from).seconds())];
    clock.extend(changes.take_while(|(at, _)| *at < until));
    Some(clock)
}

fn read(path: &Path) -> Option<String> {
    std::fs::read_to_string(path).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "#country\tcoordinates\tTZ\tcomments\n\
        DE\t+5230+01322\tEurope/Berlin\tmost of Germany\n\
        DE\t+4742+00841\tEurope/Busingen\tBusingen\n\
        FR\t+4852+00220\tEurope/Paris\n\
        US\t+404251-0740023\tAmerica/New_York\tEastern\n\
        US\t+340308-1181434\tAmerica/Los_Angeles\tPacific\n";

    #[test]
    fn a_country_with_one_clock_is_one_place() {
        let zones = Zones::parse(TABLE);
        let place = |country| zones.place(None, Some(country), SeveralZones::Never);
        assert_eq!(place("DE").unwrap().as_str(), "Europe/Berlin", "Busingen's clock is Berlin's");
        assert_eq!(place("FR").unwrap().as_str(), "Europe/Paris");
        assert_eq!(place("US"), None);
        assert_eq!(place("XX"), None);
        assert_eq!(zones.place(None, None, SeveralZones::All), None);
    }

    #[test]
    fn several_zones_are_one_place_where_the_campaign_says_so() {
        let zones = Zones::parse(TABLE);
        let place = zones.place(None, Some("US"), SeveralZones::All).unwrap();
        assert_eq!(place.as_str(), "*US");
        assert!(zones.zone("*US").is_some());
    }

    #[test]
    fn what_the_contact_says_goes_first_and_is_never_guessed() {
        let zones = Zones::parse(TABLE);
        let said = |zone| zones.place(Some(zone), Some("FR"), SeveralZones::All);
        assert_eq!(said("America/New_York").unwrap().as_str(), "America/New_York");
        assert_eq!(said("Mars/Olympus"), None);
        assert_eq!(said("*US"), None, "that is no zone");
        assert_eq!(said(""), None);
    }

    #[test]
    fn the_systems_own_table_knows_germany() {
        let zones = Zones::of_system();
        assert_eq!(
            zones.place(None, Some("DE"), SeveralZones::Never).map(|place| place.to_string()).as_deref(),
            Some("Europe/Berlin"),
        );
    }
}
