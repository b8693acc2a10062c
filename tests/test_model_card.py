"""The metadata of model cards: what the Hub reads of a README, and that it says what was measured."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
from huggingface_hub import EvalResult, HfApi, ModelCard, ModelCardData, get_session

from playground.cards import bundled_cards
from playground.settings import PROJECT
from playground.training.model_card import NO_RESULTS, TYPES, metadata, rewrite_metadata
from tests.hub_server import HubServer

WEIGHTS = PROJECT / "weights"
READMES = sorted(WEIGHTS.glob("*/README.md"))
MEASURED = [card for card in bundled_cards().values() if (WEIGHTS / card.id / "metrics.json").is_file()]
by_id = pytest.mark.parametrize("card", MEASURED, ids=lambda card: card.id)


def read(card_id: str, name: str) -> str:
    return (WEIGHTS / card_id / name).read_text()


@pytest.mark.parametrize("readme", READMES, ids=lambda path: path.parent.name)
def test_the_hub_takes_it(remote: HubServer, readme: Path) -> None:
    ModelCard.load(readme).validate()
    assert [request.path for request in remote.requests] == ["/api/validate-yaml"]


@pytest.mark.parametrize(
    ("right", "wrong", "words"),
    [
        ("license: apache-2.0", "license: my-own", '"license" must be one of'),
        ("license: apache-2.0", "license: a: b", "invalid YAML"),
        ("tags:", "tags: gan\nwords:", '"tags" must be a list of strings'),
        ("- name: gan", "- title: gan", '"model-index[0].name" is required'),
        ("value: ", "amount: ", "metric.value is required"),
        ("      name: Fashion-MNIST\n", "", "dataset.name is required"),
    ],
)
def test_the_hub_of_the_tests_looks_at_it(remote: HubServer, right: str, wrong: str, words: str) -> None:
    """Else the test above would say nothing."""
    broken = read("gan-fashion-28", "README.md").replace(right, wrong)
    answer = get_session().post(f"{remote.url}/api/validate-yaml", json={"content": broken, "repoType": "model"})
    assert answer.status_code == 400 and words in answer.json()["errors"][0]["message"]


@by_id
def test_it_is_made_of_the_figures(card) -> None:
    figures = json.loads(read(card.id, "metrics.json"))
    assert read(card.id, "README.md").startswith(f"{metadata(card, figures)}\n\n# {card.title}\n"), "run: make figures"


@by_id
def test_it_lists_the_results_that_were_measured(card) -> None:
    figures = json.loads(read(card.id, "metrics.json"))
    data = ModelCard(read(card.id, "README.md")).data
    found = {result.metric_type: result.metric_value for result in data.eval_results}
    assert found == {TYPES.get(name, name): figure["value"] for name, figure in figures.items() if name not in NO_RESULTS}
    assert len(data.eval_results) == len(found) > 8
    for result in data.eval_results:
        assert (result.task_type, result.dataset_type) == ("unconditional-image-generation", "zalando-datasets/fashion_mnist")
        assert (result.dataset_name, result.dataset_split, result.verified) == ("Fashion-MNIST", "test", None)
    assert (data.license, data.library_name, data.datasets) == (card.license, "latent-playground", ["zalando-datasets/fashion_mnist"])
    assert data.tags == [card.family, "generative-model", "fashion-mnist"] and data.pipeline_tag == "unconditional-image-generation"


def test_no_figure_bears_the_name_of_another() -> None:
    """FID is measured in Inception's features, ours are our own classifier's; and precision is not that of a classifier."""
    text = "".join(read(card.id, "README.md").split("\n---\n")[0] for card in MEASURED)
    assert not re.search(r"\bfid\b|inception", text, re.IGNORECASE)
    assert not {"precision", "recall"} & set(re.findall(r"type: (\w+)", text))


def test_the_clients_own_classes_write_the_same() -> None:
    card = MEASURED[0]
    figures = {"bits_per_dim": {"value": 2e-05}, "bytes": {"value": 12}}
    data = ModelCard(f"{metadata(card, figures)}\n").data
    result = EvalResult(
        task_type="unconditional-image-generation",
        dataset_type="zalando-datasets/fashion_mnist",
        dataset_name="Fashion-MNIST",
        dataset_split="test",
        metric_type="bits_per_dim",
        metric_name=data.eval_results[0].metric_name,
        metric_value=2e-05,
    )
    told = ModelCardData(
        license=card.license,
        library_name="latent-playground",
        pipeline_tag="unconditional-image-generation",
        tags=[card.family, "generative-model", "fashion-mnist"],
        datasets=["zalando-datasets/fashion_mnist"],
        model_name=card.id,
        eval_results=[result],
    )
    assert data.to_dict() == told.to_dict()


def test_rewriting_leaves_the_words_alone(tmp_path: Path) -> None:
    for name in ("gan-fashion-28", "classifier-fashion-28"):
        shutil.copytree(WEIGHTS / name, tmp_path / name)
    shutil.copy(WEIGHTS / "models.toml", tmp_path)
    readme = tmp_path / "gan-fashion-28" / "README.md"
    readme.write_text("---\nlicense: old\n---\n" + read("gan-fashion-28", "README.md").partition("\n---\n")[2] + "\n---\nBelow a rule.\n")
    rewrite_metadata(tmp_path)
    assert readme.read_text() == read("gan-fashion-28", "README.md") + "\n---\nBelow a rule.\n"
    assert (tmp_path / "classifier-fashion-28" / "README.md").read_text() == read("classifier-fashion-28", "README.md")


def test_the_hub_reads_it(remote: HubServer) -> None:
    remote.add_repo("ann/gan", {"README.md": read("gan-fashion-28", "README.md").encode()})
    info = HfApi().model_info("ann/gan")
    assert info.card_data.to_dict() == ModelCard(read("gan-fashion-28", "README.md")).data.to_dict()
    assert (info.pipeline_tag, info.library_name) == ("unconditional-image-generation", "latent-playground")
