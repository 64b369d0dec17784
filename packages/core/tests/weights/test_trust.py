"""What a configuration may make the program import."""

import sys

import pytest

from headway.core.errors import UserError
from headway.core.weights.config import find_class


def test_a_folder_of_the_working_directory_is_no_part_of_headway(tmp_path, monkeypatch):
    evil = tmp_path / "headway" / "evil"
    evil.mkdir(parents=True)
    (evil / "__init__.py").write_text("raise SystemExit('imported')\n")
    (evil / "x.py").write_text("raise SystemExit('imported')\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    for path in ("headway.evil.X", "headway.evil.x.X", "headway.nothing.X"):
        with pytest.raises(UserError, match="is no installed part of headway"):
            find_class({"class_path": path}, ())
    assert "headway.evil" not in sys.modules


def test_a_folder_that_stands_in_for_a_domain_is_refused(tmp_path, monkeypatch):
    import headway

    evil = tmp_path / "headway" / "vision"
    evil.mkdir(parents=True)
    (evil / "__init__.py").write_text("raise SystemExit('imported')\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(headway, "__path__", [str(tmp_path / "headway"), *headway.__path__])
    with pytest.raises(UserError, match="found in the working directory"):
        find_class({"class_path": "headway.vision.models.ViT"}, ())
