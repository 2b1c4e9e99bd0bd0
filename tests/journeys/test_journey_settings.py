"""Settings over HTTP: changed together, looked up in their history, and restored."""

from typing import Any

import httpx

NAMES = ("north", "south")


async def answer(call: Any, status: int = 200) -> dict[str, Any]:
    """The JSON of an answer with that status."""
    response = await call
    assert response.status_code == status, response.text
    body: dict[str, Any] = response.json()
    return body


async def test_settings_are_changed_together_and_restored(http: httpx.AsyncClient) -> None:
    for name in NAMES:
        await answer(http.post("/v1/programs", json={"program": name}))
    batch = {
        "items": [
            {
                "program": name,
                "settings": {"transfer": {"enabled": True, "minimum": 10}},
                "updateMask": "transfer.enabled,transfer.minimum",
            }
            for name in NAMES
        ],
        "reason": "members may give points",
    }
    together = "/v1/programs:batchUpdateSettings"
    settings = "/v1/programs/north/settings"

    off = await answer(http.post(together, json=batch), 409)
    await answer(
        http.patch(
            "/v1/organization",
            json={"organization": {"settings": {"bulkUpdates": True}}},
        )
    )
    preview = await answer(http.post(together, json=batch | {"validateOnly": True}))
    changed = await answer(http.post(together, json=batch))
    found = await answer(http.get(settings))
    history = await answer(http.get(f"{settings}/revisions", params={"pageSize": 1}))
    restored = await answer(
        http.post(f"{settings}/revisions/1:restore", json={"etag": found["etag"]})
    )
    missing = await answer(http.post(f"{settings}/revisions/7:restore", json={}), 404)
    no_number = await answer(http.post(f"{settings}/revisions/one:restore", json={}), 400)

    changes = [
        {"path": "transfer.enabled", "before": False, "after": True},
        {"path": "transfer.minimum", "before": "1", "after": "10"},
    ]
    assert (off["reason"], off["metadata"]) == ("SETTING_OFF", {"setting": "bulk_updates"})
    assert preview == changed
    assert [(each["program"], each["changes"]) for each in changed["results"]] == [
        (name, changes) for name in NAMES
    ]
    assert found["transfer"]["minimum"] == "10"
    assert history["revisions"][0]["changes"] == changes
    assert history["revisions"][0]["reason"] == "members may give points"
    assert history["nextPageToken"] != ""
    assert (restored["revision"], restored["transfer"]["enabled"]) == ("3", False)
    assert (missing["reason"], missing["metadata"]) == ("REVISION_NOT_FOUND", {"revision": "7"})
    assert no_number["reason"] == "INVALID_FIELD"
