from pathlib import Path

import pytest
from pydantic import ValidationError

from app.settings import Setting, Settings, SettingsError, load_settings, settings_list


@pytest.fixture(autouse=True)
def no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for setting in settings_list():
        monkeypatch.delenv(setting.name, raising=False)


def test_defaults_listen_on_this_machine_only() -> None:
    settings = load_settings()

    assert (settings.host, settings.port) == ("127.0.0.1", 8000)
    assert settings.store == Path("models/store")


def test_environment_sets_plain_and_nested_values(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENCODERY_PORT", "0")
    monkeypatch.setenv("ENCODERY_ADMISSION__MAX_WAIT_MS", "250")

    settings = load_settings()

    assert (settings.port, settings.admission.max_wait_ms) == (0, 250)


def test_empty_variable_counts_as_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENCODERY_LANES", "")

    assert load_settings().lanes is None


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("ENCODERY_PROT", "ENCODERY_PORT"),
        ("ENCODERY_LIMITS__TEXT", "ENCODERY_LIMITS__TEXTS"),
        ("ENCODERY_MAX_WAIT_MS", "ENCODERY_ADMISSION__MAX_WAIT_MS"),
        ("encodery_hots", "ENCODERY_HOST"),
    ],
)
def test_unknown_name_is_refused_with_the_nearest_known(
    name: str, nearest: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, "1")

    with pytest.raises(SettingsError) as refusal:
        load_settings()

    assert str(refusal.value) == f"{name} is no setting of the service; the nearest known name is {nearest}"


def test_the_name_that_recipes_use_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENCODERY_DATA", "data")

    load_settings()


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("ENCODERY_PORT", "70000", "less than or equal to 65535"),
        ("ENCODERY_PORT", "http", "valid integer"),
        ("ENCODERY_DEVICE", "tpu", "'auto', 'cpu' or 'cuda'"),
        ("ENCODERY_LIMITS__TEXTS", "0", "greater than or equal to 1"),
    ],
)
def test_bad_value_is_refused_in_one_line(name: str, value: str, reason: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, value)

    with pytest.raises(SettingsError) as refusal:
        load_settings()

    assert str(refusal.value).startswith(f"{name}='{value}'")
    assert reason in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_engines_beside_a_service_of_one_process_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENCODERY_WORKERS", "0")
    monkeypatch.setenv("ENCODERY_ENGINES", "2")

    with pytest.raises(SettingsError, match="runs everything in one process; leave ENCODERY_ENGINES out"):
        load_settings()


def test_dot_env_file_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".env").write_text("ENCODERY_PORT=1234\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)

    assert load_settings().port == 8000


def test_settings_are_frozen() -> None:
    with pytest.raises(ValidationError):
        Settings().port = 1  # type: ignore[misc]  # that it is refused at run time is the point


@pytest.mark.parametrize("setting", settings_list(), ids=lambda setting: setting.name)
def test_every_setting_gives_a_reason(setting: Setting) -> None:
    assert len(setting.field.description or "") > 20
