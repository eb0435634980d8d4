"""AddressPlaces: in all, and for each address."""

from __future__ import annotations

from api.edge.places import AddressPlaces


def test_an_address_has_only_its_share() -> None:
    places = AddressPlaces(most=3, most_per_address=2)
    places.enter("192.0.2.1")
    places.enter("192.0.2.1")
    assert places.full_for("192.0.2.1")
    assert not places.full_for("192.0.2.2")
    assert not places.full()
    places.enter("192.0.2.2")
    assert places.full()
    places.leave("192.0.2.1")
    assert not places.full()
    assert not places.full_for("192.0.2.1")


def test_what_has_no_address_is_counted_in_all_alone() -> None:
    places = AddressPlaces(most=2, most_per_address=1)
    places.enter("")
    assert not places.full_for("")
    places.enter("")
    assert places.full()


def test_nothing_is_kept_of_those_who_left() -> None:
    places = AddressPlaces(most=9, most_per_address=9)
    for number in range(5):
        places.enter(f"192.0.2.{number}")
    for number in range(5):
        places.leave(f"192.0.2.{number}")
    assert (places.count, len(places._open)) == (0, 0)  # pyright: ignore[reportPrivateUsage]  # memory is what this is about
