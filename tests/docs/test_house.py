"""The page of the house is made from the house."""

from tests.docs.house_page import PAGE, house_page


def test_the_page_is_up_to_date():
    assert PAGE.read_text() == house_page(), "run: python -m tests.docs.house_page"
