//! What somebody may see, as a condition of the queries.

use seatrial_preview::access::Visible;

/// Whether rows of a repository are to be seen; `$all`, `$teams` and `$repository` are bound from
/// [`Sight`].
macro_rules! repository_visible {
    ($column:literal, $all:literal, $teams:literal, $repository:literal) => {
        concat!(
            "(",
            $all,
            " OR ",
            $column,
            " = ",
            $repository,
            " OR EXISTS (SELECT 1 FROM projects p WHERE p.repository = ",
            $column,
            " AND p.team ",
            one_of!($teams),
            "))"
        )
    };
}
pub(super) use repository_visible;

/// The same for a concurrency key, `owner/name#number`.
macro_rules! key_visible {
    ($key:literal, $all:literal, $teams:literal, $repository:literal) => {
        concat!(
            "(",
            $all,
            " OR substr(",
            $key,
            ", 1, length(CAST(",
            $repository,
            " AS TEXT)) + 1) = CAST(",
            $repository,
            " AS TEXT) || '#'",
            " OR EXISTS (SELECT 1 FROM projects p WHERE p.team ",
            one_of!($teams),
            " AND substr(",
            $key,
            ", 1, length(p.repository) + 1) = p.repository || '#'))"
        )
    };
}
pub(super) use key_visible;

/// The same for runs `r`: by their key, or by the delivery that started them.
macro_rules! run_visible {
    ($all:literal, $teams:literal, $repository:literal) => {
        concat!(
            "(",
            key_visible!("r.key", $all, $teams, $repository),
            " OR EXISTS (SELECT 1 FROM deliveries d JOIN projects p ON p.repository = d.repository
                         WHERE d.run = r.id AND p.team ",
            one_of!($teams),
            "))"
        )
    };
}
pub(super) use run_visible;

/// [`Visible`], to be bound.
#[derive(Clone)]
pub(super) struct Sight {
    pub(super) all: bool,
    pub(super) teams: Vec<String>,
    pub(super) repository: Option<String>,
}

impl Sight {
    pub(super) fn of(visible: &Visible) -> Self {
        let nothing = Self { all: false, teams: Vec::new(), repository: None };
        match visible {
            Visible::All => Self { all: true, ..nothing },
            Visible::Teams(teams) => Self { teams: teams.iter().map(ToString::to_string).collect(), ..nothing },
            Visible::Repository(repository) => Self { repository: Some(repository.to_string()), ..nothing },
        }
    }
}
