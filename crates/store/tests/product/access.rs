//! Teams, tokens, sessions, projects, secrets, the audit log and kept answers.

use std::sync::Arc;
use std::time::Duration;

use seatrial_engine::{Clock, ManualClock, NewRun, OnConflict};
use seatrial_preview::DeliveryId;
use seatrial_preview::access::{Account, PersonId, Role, Scope, SecretName, TeamName, Token, TokenId, Visible};
use seatrial_preview::life::{Capacity, HeldBy, Place as Room};
use seatrial_store::access::{Begun, KeptAnswer, NewProject, SealedSecret, Session, SessionOwner};
use seatrial_store::views::{AuditEntry, AuditFilter, DeliveryFilter, EnvironmentFilter, PageRequest, RunFilter};
use seatrial_store::{Meaning, NewDelivery, Store};
use uuid::Uuid;

use crate::place::{On, Place};
use crate::{at, delivery, pull_request, run};

on_each_store!(
    a_team_sees_its_own_projects_and_nothing_else,
    a_name_with_an_underscore_is_no_pattern,
    a_commands_run_is_seen_by_the_team_of_its_pull_request,
    members_have_one_role_in_a_team_and_keep_it_under_a_new_login,
    a_team_with_projects_is_not_deleted,
    tokens_are_found_by_their_hash_until_they_are_revoked,
    sessions_end_with_what_they_rest_on,
    the_setup_code_is_used_once,
    secrets_go_with_their_project_and_follow_its_name,
    a_project_has_a_limit_of_its_own,
    a_write_that_is_sent_again_gets_the_first_answer,
);

fn team(name: &str) -> TeamName {
    name.parse().unwrap()
}

fn of(teams: &[&str]) -> Visible {
    Visible::Teams(teams.iter().map(|name| team(name)).collect())
}

fn project(repository: &str, of: &str) -> NewProject {
    NewProject { repository: repository.parse().unwrap(), team: team(of), max_previews: None }
}

async fn store_at_noon(on: On) -> (Store, Arc<ManualClock>, Place) {
    let place = Place::new(on).await;
    let clock = Arc::new(ManualClock::at("2026-01-01T12:00:00Z".parse().unwrap()));
    let store = place.open(clock.clone()).await;
    (store, clock, place)
}

async fn with_teams(on: On) -> (Store, Arc<ManualClock>, Place) {
    let (store, clock, place) = store_at_noon(on).await;
    for name in ["payments", "search"] {
        assert!(store.create_team(&team(name)).await.unwrap());
        assert!(!store.create_team(&team(name)).await.unwrap(), "there is one already");
    }
    (store, clock, place)
}

fn everything() -> PageRequest {
    PageRequest::default()
}

async fn a_team_sees_its_own_projects_and_nothing_else(on: On) {
    let (store, _, _place) = with_teams(on).await;
    for (repository, owner) in [("acme/shop", "payments"), ("acme/find", "search")] {
        assert!(store.create_project(&project(repository, owner)).await.unwrap().is_some());
        assert!(store.create_project(&project(repository, owner)).await.unwrap().is_none());
    }
    assert!(store.create_project(&project("acme/new", "nobody")).await.unwrap().is_none(), "there is no such team");
    for (number, repository) in ["acme/shop", "acme/find", "acme/orphan"].into_iter().enumerate() {
        let at = at(repository, 7);
        store.accept_delivery(delivery(&format!("d-{number}"), &at)).await.unwrap();
        store.write_audit(&entry("preview.deploy", Some(repository), None)).await.unwrap();
    }
    store.write_audit(&entry("team.member.set", None, Some("payments"))).await.unwrap();
    store.start(NewRun::named("reconcile", 1, serde_json::json!({}))).await.unwrap();

    for (visible, repositories, runs, entries) in [
        (of(&["payments"]), vec!["acme/shop"], 1, 2),
        (of(&["search"]), vec!["acme/find"], 1, 1),
        (of(&["payments", "search"]), vec!["acme/find", "acme/shop"], 2, 3),
        (of(&[]), vec![], 0, 0),
        (Visible::Repository("acme/orphan".parse().unwrap()), vec!["acme/orphan"], 1, 1),
        (Visible::All, vec!["acme/find", "acme/orphan", "acme/shop"], 4, 4),
    ] {
        let filter = EnvironmentFilter::default();
        let listed = store.list_environments(&visible, &filter, &everything()).await.unwrap().items;
        let mut names: Vec<_> = listed.iter().map(|view| view.environment.at.repository.to_string()).collect();
        names.sort_unstable();
        assert_eq!(names, repositories, "{visible:?}");
        let listed = store.list_runs(&visible, &RunFilter::default(), &everything()).await.unwrap().items;
        assert_eq!(listed.len(), runs, "{visible:?}");
        let listed = store.list_deliveries(&visible, &DeliveryFilter::default(), &everything()).await.unwrap().items;
        assert_eq!(listed.len(), repositories.len(), "{visible:?}");
        let listed = store.list_audit(&visible, &AuditFilter::default(), &everything()).await.unwrap().items;
        assert_eq!(listed.len(), entries, "{visible:?}");

        for (number, repository) in ["acme/shop", "acme/find", "acme/orphan"].into_iter().enumerate() {
            let seen = repositories.contains(&repository);
            let at = at(repository, 7);
            let all = store.find_environment_of(&Visible::All, &at).await.unwrap().unwrap();
            let found = store.find_environment_of(&visible, &at).await.unwrap();
            assert_eq!(found.is_some(), seen, "{visible:?} {repository}");
            let found = store.find_environment(&visible, all.environment.id).await.unwrap();
            assert_eq!(found.is_some(), seen, "{visible:?} {repository}");
            let found = store.find_environment_by_namespace(&visible, &all.environment.namespace).await.unwrap();
            assert_eq!(found.is_some(), seen, "{visible:?} {repository}");
            let found = store.find_visible_run(&visible, all.newest_run.unwrap().id).await.unwrap();
            assert_eq!(found.is_some(), seen, "{visible:?} {repository}");
            let id = DeliveryId(format!("d-{number}"));
            assert_eq!(store.find_delivery(&visible, &id).await.unwrap().is_some(), seen, "{visible:?} {repository}");
            assert_eq!(store.sees_key(&visible, &at.to_string()).await.unwrap(), seen, "{visible:?} {repository}");
        }
    }
    let teams = store.list_teams(&of(&["search"]), &everything()).await.unwrap().items;
    assert_eq!(teams.iter().map(|team| (team.name.as_str(), team.projects)).collect::<Vec<_>>(), [("search", 1)]);
}

/// `a_b` as a pattern would find `axb`.
async fn a_name_with_an_underscore_is_no_pattern(on: On) {
    let (store, _, _place) = with_teams(on).await;
    store.create_project(&project("acme/a_b", "payments")).await.unwrap();
    let other = store.start(run("preview_up", &at("acme/axb", 1))).await.unwrap().id;
    let longer = store.start(run("preview_up", &at("acme/a_bc", 1))).await.unwrap().id;
    let own = store.start(run("preview_up", &at("acme/a_b", 1))).await.unwrap().id;
    let visible = of(&["payments"]);
    for hidden in [other, longer] {
        assert_eq!(store.find_visible_run(&visible, hidden).await.unwrap(), None);
    }
    let listed = store.list_runs(&visible, &RunFilter::default(), &everything()).await.unwrap().items;
    assert_eq!(listed.iter().map(|run| run.id).collect::<Vec<_>>(), [own]);
}

async fn a_commands_run_is_seen_by_the_team_of_its_pull_request(on: On) {
    let (store, _, _place) = with_teams(on).await;
    store.create_project(&project("acme/shop", "payments")).await.unwrap();
    let command = NewDelivery {
        meaning: Meaning::Command(NewRun::named("command", 1, serde_json::json!({}))),
        ..delivery("d-1", &at("acme/shop", 7))
    };
    let run = store.accept_delivery(command).await.unwrap().run.unwrap();
    assert!(store.find_visible_run(&of(&["payments"]), run).await.unwrap().is_some());
    assert!(store.find_visible_run(&of(&["search"]), run).await.unwrap().is_none());
}

async fn members_have_one_role_in_a_team_and_keep_it_under_a_new_login(on: On) {
    let (store, clock, _place) = with_teams(on).await;
    let ada = |login: &str| Account { id: PersonId(7), login: login.to_owned() };
    assert!(!store.set_member(&team("nobody"), &ada("ada"), Role::Viewer).await.unwrap());
    assert!(store.set_member(&team("payments"), &ada("ada"), Role::Viewer).await.unwrap());
    assert!(store.set_member(&team("payments"), &ada("Ada"), Role::Maintainer).await.unwrap());
    let members = store.list_members(&team("payments")).await.unwrap();
    assert_eq!(members.len(), 1);
    assert_eq!((members[0].account.login.as_str(), members[0].role), ("Ada", Role::Maintainer));

    let person = store.ensure_person(&ada("lovelace"), true).await.unwrap();
    assert_eq!((person.operator, person.seen_at), (false, Some(clock.now())));
    // Somebody else takes the name that became free.
    store.ensure_person(&Account { id: PersonId(8), login: "ada".to_owned() }, true).await.unwrap();
    assert!(!store.remove_member(&team("payments"), "ada").await.unwrap());
    assert!(store.remove_member(&team("payments"), "LOVELACE").await.unwrap());
    assert!(store.list_members(&team("payments")).await.unwrap().is_empty());

    store.set_operator(PersonId(7), true).await.unwrap();
    let operators = store.list_operators().await.unwrap();
    assert_eq!(operators.iter().map(|one| one.account.login.as_str()).collect::<Vec<_>>(), ["lovelace"]);
}

async fn a_team_with_projects_is_not_deleted(on: On) {
    let (store, _, _place) = with_teams(on).await;
    store.create_project(&project("acme/shop", "payments")).await.unwrap();
    let (token, hash) = token(Some("payments"), Scope::Deploy);
    store.create_token(&token, &hash).await.unwrap();
    assert!(!store.delete_team(&team("payments")).await.unwrap());
    assert!(store.find_token(&hash).await.unwrap().is_some());
    let moved = store.update_project(&project("acme/shop", "search")).await.unwrap().unwrap();
    assert_eq!(moved.team, team("search"));
    assert!(store.delete_team(&team("payments")).await.unwrap());
    assert!(store.find_team(&Visible::All, &team("payments")).await.unwrap().is_none());
    assert!(store.find_token(&hash).await.unwrap().is_none(), "its tokens go with it");
}

fn token(of: Option<&str>, scope: Scope) -> (Token, [u8; 32]) {
    let id = Uuid::now_v7();
    let mut hash = [0; 32];
    hash[..16].copy_from_slice(id.as_bytes());
    let token = Token {
        id: TokenId(id),
        name: "ci".to_owned(),
        scope,
        team: of.map(team),
        created_by: "ada".to_owned(),
        created_at: "2026-01-01T12:00:00Z".parse().unwrap(),
        expires_at: None,
        last_used_at: None,
        revoked_at: None,
    };
    (token, hash)
}

async fn tokens_are_found_by_their_hash_until_they_are_revoked(on: On) {
    let (store, clock, _place) = with_teams(on).await;
    let (ci, hash) = token(Some("payments"), Scope::Deploy);
    let (mut admin, admin_hash) = token(None, Scope::Admin);
    admin.expires_at = Some(clock.now() + Duration::from_secs(60));
    assert!(!store.has_operator().await.unwrap());
    store.create_token(&ci, &hash).await.unwrap();
    assert!(!store.has_operator().await.unwrap(), "a team's token is no operator's");
    store.create_token(&admin, &admin_hash).await.unwrap();
    assert!(store.has_operator().await.unwrap());
    assert_eq!(store.find_token(&hash).await.unwrap(), Some(ci.clone()));
    assert_eq!(store.find_token(&[1; 32]).await.unwrap(), None);

    let listed = store.list_tokens(&of(&["payments"]), &everything()).await.unwrap().items;
    assert_eq!(listed, std::slice::from_ref(&ci));
    assert_eq!(store.list_tokens(&Visible::All, &everything()).await.unwrap().items.len(), 2);
    let first = PageRequest { after: None, limit: 1 };
    let page = store.list_tokens(&Visible::All, &first).await.unwrap();
    let second = PageRequest { after: page.next.clone(), limit: 1 };
    let rest = store.list_tokens(&Visible::All, &second).await.unwrap();
    assert_ne!(page.items, rest.items);
    assert_eq!(rest.next, None);

    store.touch_token(ci.id).await.unwrap();
    assert_eq!(store.find_token(&hash).await.unwrap().unwrap().last_used_at, Some(clock.now()));
    assert_eq!(store.revoke_token(&of(&["search"]), ci.id).await.unwrap(), None, "it is not theirs");
    let revoked = store.revoke_token(&of(&["payments"]), ci.id).await.unwrap().unwrap();
    assert!(!revoked.is_valid(clock.now()));
    clock.advance(Duration::from_secs(61));
    let again = store.revoke_token(&Visible::All, ci.id).await.unwrap().unwrap();
    assert_eq!(again.revoked_at, revoked.revoked_at, "it stays as it was");
    assert!(!store.has_operator().await.unwrap(), "the operator's token has expired");
}

async fn sessions_end_with_what_they_rest_on(on: On) {
    let (store, clock, _place) = with_teams(on).await;
    let until = clock.now() + Duration::from_secs(3_600);
    let person = store.ensure_person(&Account { id: PersonId(7), login: "ada".to_owned() }, true).await.unwrap();
    store.set_member(&team("payments"), &person.account, Role::Developer).await.unwrap();
    let (ci, hash) = token(Some("payments"), Scope::Read);
    store.create_token(&ci, &hash).await.unwrap();
    for (session, owner) in [
        ([1; 32], SessionOwner::Person(PersonId(7))),
        ([2; 32], SessionOwner::Token(ci.id)),
        ([3; 32], SessionOwner::Bootstrap([9; 32])),
    ] {
        store.open_session(&session, &owner, until).await.unwrap();
    }
    let Some(Session::Person(found, roles)) = store.find_session(&[1; 32]).await.unwrap() else {
        panic!("a person's session")
    };
    assert_eq!((found.account.login.as_str(), roles), ("ada", vec![(team("payments"), Role::Developer)]));
    assert_eq!(store.find_session(&[2; 32]).await.unwrap(), Some(Session::Token(ci.clone())));
    assert_eq!(store.find_session(&[3; 32]).await.unwrap(), Some(Session::Bootstrap([9; 32])));
    assert_eq!(store.find_session(&[4; 32]).await.unwrap(), None);

    // What somebody may is looked up each time: it is not frozen at sign-in.
    store.remove_member(&team("payments"), "ada").await.unwrap();
    assert!(matches!(store.find_session(&[1; 32]).await.unwrap(), Some(Session::Person(_, roles)) if roles.is_empty()));
    store.revoke_token(&Visible::All, ci.id).await.unwrap();
    assert!(
        matches!(store.find_session(&[2; 32]).await.unwrap(), Some(Session::Token(token)) if !token.is_valid(clock.now()))
    );
    store.end_session(&[1; 32]).await.unwrap();
    store.end_session(&[1; 32]).await.unwrap();
    assert_eq!(store.find_session(&[1; 32]).await.unwrap(), None);
    clock.advance(Duration::from_secs(3_600));
    assert_eq!(store.find_session(&[3; 32]).await.unwrap(), None);
}

async fn the_setup_code_is_used_once(on: On) {
    let (store, clock, _place) = store_at_noon(on).await;
    let until = clock.now() + Duration::from_secs(3_600);
    store.offer_setup(&[1; 32], until).await.unwrap();
    store.offer_setup(&[2; 32], until).await.unwrap();
    assert!(!store.is_setup_offered(&[1; 32]).await.unwrap(), "a later start offers another");
    assert!(store.is_setup_offered(&[2; 32]).await.unwrap());
    assert!(!store.use_setup(&[1; 32]).await.unwrap());
    assert!(store.use_setup(&[2; 32]).await.unwrap());
    assert!(!store.use_setup(&[2; 32]).await.unwrap());
    store.offer_setup(&[3; 32], until).await.unwrap();
    clock.advance(Duration::from_secs(3_600));
    assert!(!store.use_setup(&[3; 32]).await.unwrap());
}

fn sealed(name: &str, key_id: &str) -> SealedSecret {
    SealedSecret {
        id: Uuid::now_v7(),
        name: name.parse().unwrap(),
        key_id: key_id.to_owned(),
        nonce: vec![1; 12],
        ciphertext: vec![2; 20],
        updated_by: "ada".to_owned(),
    }
}

async fn secrets_go_with_their_project_and_follow_its_name(on: On) {
    let (store, _, _place) = with_teams(on).await;
    let shop = "acme/shop".parse().unwrap();
    assert!(!store.put_secret(&shop, &sealed("A", "k1")).await.unwrap(), "there is no project");
    store.create_project(&project("acme/shop", "payments")).await.unwrap();
    let first = sealed("DATABASE_URL", "k1");
    assert!(store.put_secret(&shop, &first).await.unwrap());
    let second = sealed("DATABASE_URL", "k1");
    assert!(store.put_secret(&shop, &second).await.unwrap());
    assert!(store.put_secret(&shop, &sealed("B", "k2")).await.unwrap());
    let names: Vec<_> = store.list_secrets(&shop).await.unwrap().into_iter().map(|secret| secret.name).collect();
    assert_eq!(names, ["B", "DATABASE_URL"].map(|name| name.parse::<SecretName>().unwrap()));
    assert_eq!(store.list_key_ids().await.unwrap(), ["k1", "k2"]);

    assert_eq!(store.list_sealed_otherwise("k2").await.unwrap(), std::slice::from_ref(&second));
    let new = SealedSecret { key_id: "k2".to_owned(), nonce: vec![3; 12], ciphertext: vec![4; 20], ..second.clone() };
    store.reseal_secret(&first, &new).await.unwrap();
    assert_eq!(store.list_sealed_otherwise("k2").await.unwrap().len(), 1, "that value was replaced meanwhile");
    store.reseal_secret(&second, &new).await.unwrap();
    assert!(store.list_sealed_otherwise("k2").await.unwrap().is_empty());

    let renamed = NewDelivery {
        meaning: Meaning::Renamed { from: shop.clone(), to: "acme/store".parse().unwrap() },
        at: None,
        ..delivery("d-9", &at("acme/shop", 7))
    };
    store.accept_delivery(renamed).await.unwrap();
    let store_name = "acme/store".parse().unwrap();
    assert!(store.find_project(&Visible::All, &shop).await.unwrap().is_none());
    assert!(store.find_project(&of(&["payments"]), &store_name).await.unwrap().is_some());
    assert_eq!(store.load_secrets(&store_name).await.unwrap().len(), 2);
    assert!(store.delete_secret(&store_name, &"B".parse().unwrap()).await.unwrap());
    assert!(!store.delete_secret(&store_name, &"B".parse().unwrap()).await.unwrap());
    assert!(store.delete_project(&store_name).await.unwrap());
    assert!(!store.delete_project(&store_name).await.unwrap());
    assert!(store.list_key_ids().await.unwrap().is_empty());
}

async fn a_project_has_a_limit_of_its_own(on: On) {
    let (store, _, _place) = with_teams(on).await;
    store.create_project(&NewProject { max_previews: Some(1), ..project("acme/shop", "payments") }).await.unwrap();
    let capacity = Capacity { cluster: None, repository: Some(2) };
    let mut places = Vec::new();
    for (repository, number) in [("acme/shop", 1), ("acme/shop", 2), ("acme/find", 1), ("acme/find", 2)] {
        let at = at(repository, number);
        store
            .start(NewRun::named("preview_up", 1, serde_json::json!({})).key(at.to_string(), OnConflict::Queue))
            .await
            .unwrap();
        let environment = store.ensure(&pull_request(&at, "A change")).await.unwrap();
        places.push(store.reserve(environment.id, capacity).await.unwrap());
    }
    let waits = |place: &Room| matches!(place, Room::Waiting { position: 1, held_by: HeldBy::Repository, .. });
    assert_eq!(places.iter().map(waits).collect::<Vec<_>>(), [false, true, false, false], "{places:?}");
}

fn entry(action: &str, repository: Option<&str>, of: Option<&str>) -> AuditEntry {
    AuditEntry {
        seq: 0,
        at: "2026-01-01T12:00:00Z".parse().unwrap(),
        who: "ada".to_owned(),
        via: "rest".to_owned(),
        address: Some("192.0.2.7".to_owned()),
        action: action.to_owned(),
        target: repository.or(of).unwrap_or_default().to_owned(),
        repository: repository.map(|name| name.parse().unwrap()),
        team: of.map(team),
        outcome: "done".to_owned(),
        detail: None,
    }
}

async fn a_write_that_is_sent_again_gets_the_first_answer(on: On) {
    let (store, clock, _place) = store_at_noon(on).await;
    let begin = async |who: &str, fingerprint: u8| store.begin_write(who, "k", &[fingerprint; 32]).await.unwrap();
    assert_eq!(begin("ada", 1).await, Begun::Fresh);
    assert_eq!(begin("ada", 1).await, Begun::AtWork);
    assert_eq!(begin("bob", 1).await, Begun::Fresh, "keys are each caller's own");
    let answer = KeptAnswer {
        status: 202,
        location: Some("/api/v1/runs/1".to_owned()),
        content_type: Some("application/json".to_owned()),
        body: b"{}".to_vec(),
    };
    store.finish_write("ada", "k", &answer).await.unwrap();
    assert_eq!(begin("ada", 1).await, Begun::Answered(answer));
    assert_eq!(begin("ada", 2).await, Begun::Other);
    store.abandon_write("bob", "k").await.unwrap();
    assert_eq!(begin("bob", 2).await, Begun::Fresh);
    // A program that died while it was at work frees the key, later.
    clock.advance(Duration::from_secs(5 * 60 + 1));
    assert_eq!(begin("bob", 2).await, Begun::Fresh);
    clock.advance(Duration::from_secs(24 * 3_600));
    assert_eq!(begin("ada", 2).await, Begun::Fresh);
}
