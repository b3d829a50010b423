"""A page is one piece of memory for every process."""

import os

import pytest

from edge.share.page import Page


def test_what_a_child_writes_the_parent_reads():
    page = Page(64, "test")
    pid = os.fork()
    if pid == 0:
        page.words[3] = 7
        os._exit(0)
    os.waitpid(pid, 0)

    assert page.words[3] == 7


def test_a_page_handed_over_by_descriptor_is_the_same_memory():
    page = Page(64, "test")
    again = Page(64, "test", os.dup(page.fd))
    again.halves[0] = 5

    assert page.halves[0] == 5


def test_a_page_of_another_size_is_refused():
    page = Page(64, "test")

    with pytest.raises(ValueError, match="expected 128"):
        Page(128, "test", os.dup(page.fd))


def test_a_page_is_not_inherited_over_exec():
    assert not os.get_inheritable(Page(64, "test").fd)


def test_one_page_is_words_halves_and_floats():
    page = Page(16, "test")
    page.floats[1] = 1.0

    assert page.words[1] == 0x3FF0_0000_0000_0000
    assert page.halves[3] == 0x3FF0_0000
    assert repr(page) == "<Page test 16 bytes>"


def test_a_page_is_cut_into_words():
    with pytest.raises(AssertionError):
        Page(12, "test")
