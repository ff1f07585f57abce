"""What a program does with a client that was generated from the description."""

import os
from http import HTTPStatus
from uuid import uuid4

import pytest

from client import AuthenticatedClient
from client.api.access import (
    create_team,
    create_token,
    delete_team,
    get_team,
    list_teams,
    list_tokens,
    revoke_token,
)
from client.api.previews import delete_preview, deploy_pull_request, get_preview, list_previews
from client.models import Deploy, NewTeam, PreviewState, Problem, Scope, WantedToken
from client.types import Unset

URL = os.environ["SEATRIAL_TEST_URL"] + "/api/v1"


@pytest.fixture
def api():
    return AuthenticatedClient(base_url=URL, token=os.environ["SEATRIAL_TEST_TOKEN"])


def test_a_preview_is_created_read_and_deleted(api):
    created = deploy_pull_request.sync_detailed(client=api, body=Deploy(repository="acme/shop", number=1))
    assert created.status_code == HTTPStatus.ACCEPTED
    assert created.headers["location"] == created.parsed.run_url
    preview = created.parsed.preview
    assert (preview.repository, preview.number, preview.title) == ("acme/shop", 1, "Page 1")

    for name in [preview.id, preview.namespace]:
        assert get_preview.sync(name, client=api).id == preview.id
    listed = list_previews.sync(client=api, repository="acme/shop")
    assert preview.id in [one.id for one in listed.items]

    deleted = delete_preview.sync(preview.id, client=api)
    assert deleted.fresh and deleted.run != created.parsed.run
    # There is no cluster that could answer that it is gone.
    assert get_preview.sync(preview.id, client=api).state is PreviewState.DELETING
    again = delete_preview.sync(preview.id, client=api)
    assert not again.fresh and again.run == deleted.run


def test_what_is_not_there_is_a_documented_problem(api):
    answer = get_preview.sync_detailed(str(uuid4()), client=api)
    assert answer.status_code == HTTPStatus.NOT_FOUND
    assert isinstance(answer.parsed, Problem)
    assert answer.parsed.code == "preview_not_found" and isinstance(answer.parsed.pointer, Unset)


def test_every_wrong_field_is_named(api):
    problem = deploy_pull_request.sync(client=api, body=Deploy(repository="acme", number=1))
    assert isinstance(problem, Problem)
    assert [error.pointer for error in problem.errors] == ["/repository"]


def test_a_wrong_token_is_refused():
    problem = list_previews.sync(client=AuthenticatedClient(base_url=URL, token="wrong"))
    assert isinstance(problem, Problem) and problem.status == HTTPStatus.UNAUTHORIZED


def test_a_team_and_its_token_are_created_read_and_deleted(api):
    team = create_team.sync(client=api, body=NewTeam(name="crew"))
    assert get_team.sync("crew", client=api) == team
    taken = create_team.sync(client=api, body=NewTeam(name="crew"))
    assert isinstance(taken, Problem) and taken.status == HTTPStatus.CONFLICT

    wanted = WantedToken(name="from a test", scope=Scope.READ, team="crew")
    made = create_token.sync(client=api, body=wanted)
    assert made.token.id in [token.id for token in list_tokens.sync(client=api).items]
    theirs = AuthenticatedClient(base_url=URL, token=made.value)
    assert [one.name for one in list_teams.sync(client=theirs).items] == ["crew"]
    refused = create_team.sync(client=theirs, body=NewTeam(name="others"))
    assert isinstance(refused, Problem) and refused.status == HTTPStatus.FORBIDDEN

    assert not isinstance(revoke_token.sync(made.token.id, client=api).revoked_at, Unset)
    assert list_teams.sync(client=theirs).status == HTTPStatus.UNAUTHORIZED
    assert delete_team.sync_detailed("crew", client=api).status_code == HTTPStatus.NO_CONTENT
    assert isinstance(get_team.sync("crew", client=api), Problem)
