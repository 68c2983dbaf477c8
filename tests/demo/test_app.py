"""The page as Gradio serves it, without a browser."""

import json
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from demo_parts import RATE, Reciter, silence

from echoic.demo.hub import LiveHub

gr = pytest.importorskip("gradio", reason="needs gradio: pip install 'echoic[demo]'")

from echoic.demo.app import Server, build_app, launch  # noqa: E402
from echoic.demo.captions import captions_tab  # noqa: E402
from echoic.demo.tabs import Tab  # noqa: E402

TEXT = "hello from the server"


@pytest.fixture
def served(make_hub: Callable[..., LiveHub]) -> Iterator[tuple[Any, LiveHub, str]]:
    hub = make_hub(Reciter(TEXT))
    tabs = [captions_tab(hub, chunk_ms=320)]
    blocks = build_app(tabs)
    address = launch(blocks, tabs, Server())
    yield blocks, hub, address
    blocks.close()


def get(address: str) -> str:
    with urllib.request.urlopen(address, timeout=10) as answer:
        return answer.read().decode()


def call(address: str, component: int, data: Any, session: str = "a-session") -> Any:
    body = {"session_hash": session, "component_id": component, "fn_name": "captions", "data": data}
    request = urllib.request.Request(
        f"{address}gradio_api/component_server",
        json.dumps(body).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)


def test_the_page_answers_and_fetches_nothing_from_elsewhere(served: tuple[Any, LiveHub, str]):
    _, _, address = served
    assert address.startswith("http://127.0.0.1:")
    page = get(address)
    assert "<title>echoic</title>" in page or '"title":"echoic"' in page
    for place in ("fonts.googleapis", "fonts.gstatic", "cdnjs", "unpkg", "jsdelivr"):
        assert place not in page
        assert place not in get(f"{address}theme.css")


def test_sound_goes_in_and_words_come_out_over_http(served: tuple[Any, LiveHub, str]):
    blocks, hub, address = served
    (component,) = [
        block_id for block_id, block in blocks.blocks.items() if block.elem_id == "captions-tab"
    ]

    def ask(do: str, **fields: Any) -> dict[str, Any]:
        return call(address, component, {"page": "page-one", "do": do, "seen": 0, **fields})

    assert ask("start", chunk_ms=320, rate=RATE)["phase"] == "running"
    assert "problem" not in ask("hear", at=0, rate=RATE, pcm=silence(2.2))
    ask("stop")
    while ask("look")["phase"] != "idle":
        pass
    assert ask("export", kind="txt") == {"text": f"{TEXT}\n"}
    assert "no such request" in ask("dance")["problem"]
    assert hub.num_pages == 1


def test_nobody_is_told_about(served: tuple[Any, LiveHub, str]):
    assert served[0].analytics_enabled is False


def test_several_tabs_and_none():
    built: list[str] = []

    def tab(name: str) -> Tab:
        return Tab(name, lambda page: built.append(name), f".{name} {{}}")

    page = build_app([tab("one"), tab("two")])
    titles = [getattr(b, "label", "") for b in page.blocks.values() if isinstance(b, gr.Tab)]
    assert titles == ["one", "two"]
    assert built == ["one", "two"]
    alone = build_app([tab("one")])
    assert not any(isinstance(b, gr.Tab) for b in alone.blocks.values())
    with pytest.raises(ValueError, match="no tabs"):
        build_app([])


def test_only_a_page_for_this_computer_says_that_sound_stays(make_hub: Callable[..., LiveHub]):
    tabs = [captions_tab(make_hub(Reciter(TEXT)), chunk_ms=320)]
    assert "no sound leaves it" in str(build_app(tabs).get_config_file())
    assert "no sound leaves it" not in str(build_app(tabs, is_local=False).get_config_file())


def test_the_first_chunk_size_must_be_one_of_them(make_hub: Callable[..., LiveHub]):
    with pytest.raises(ValueError, match="chunk_ms is 300, expected one of 160, 320"):
        captions_tab(make_hub(Reciter(TEXT)), chunk_ms=300)
