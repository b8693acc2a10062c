"""`python -m playground serve | sample | fetch | train | evaluate | publish`: everything that needs no page."""

from __future__ import annotations

import argparse
import math
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from playground.errors import BadRequest, PlaygroundError, UnknownCard
from playground.knobs import MAX_SEED, whole_number
from playground.settings import Settings


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command. A mistake of the person's ends in one sentence on stderr and exit status 2."""
    options, rest = _parser().parse_known_args(arguments)
    if rest and options.command not in ("sample", "evaluate"):
        _parser().error(f"unknown arguments: {' '.join(rest)}")
    try:
        options.run(options, rest)
    except PlaygroundError as error:
        print(f"playground: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("playground: stopped.", file=sys.stderr)
        return 130
    return 0


def _whole(least: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        if (number := whole_number(text, least, MAX_SEED)) is None:
            raise argparse.ArgumentTypeError(f"{text[:40]!r} is not a whole number from {least} to {MAX_SEED}")
        return number

    return read


def _positive(text: str) -> float:
    with suppress(ValueError):
        if 0 < (number := float(text)) < math.inf:
            return number
    raise argparse.ArgumentTypeError(f"{text[:40]!r} is not a number above 0")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="playground", description="Generative models, side by side.")
    commands = parser.add_subparsers(dest="command", required=True)
    serve = commands.add_parser("serve", help="open the page")
    serve.add_argument("--port", type=int, help="instead of PLAYGROUND_PORT")
    serve.set_defaults(run=_serve)
    sample = commands.add_parser("sample", help="draw pictures from a card; any knob as --name value")
    sample.add_argument("card", help="a card's id; or any model of the Hub (owner/name, owner/name@revision), or a folder")
    sample.add_argument("--out", type=Path, required=True, help="a folder of PNGs, or a file ending in .npz")
    sample.set_defaults(run=_sample)
    fetch = commands.add_parser("fetch", help="bring in a model of the Hub, and pin it to its commit")
    fetch.add_argument("model", help="owner/name, owner/name@revision, or the id of a listed card")
    fetch.set_defaults(run=_fetch)
    train = commands.add_parser("train", help="train a card from nothing, or go on with it")
    train.add_argument("card", nargs="?", help="which card; or --all")
    train.add_argument("--all", action="store_true", help="every card, within --minutes together")
    train.add_argument("--jobs", type=_whole(1), help="with --all: how many at a time (default: one a core; on a GPU 4)")
    train.add_argument("--minutes", type=float, default=20.0, help="time budget (default 20)")
    train.add_argument("--steps", type=int, help="step budget instead; then a seed decides the weights exactly")
    train.add_argument("--seed", type=_whole(0), default=0)
    train.add_argument("--device", default="auto", choices=["auto", "cpu", "cuda", "mps"])
    train.add_argument("--threads", type=_whole(0), default=0, help="CPU threads (default: all)")
    train.add_argument("--further", action="store_true", help="begin with the weights that the card has, not from nothing")
    train.add_argument("--bf16", action="store_true", help="bfloat16 on the CPU too, faster where the processor has it (always on CUDA)")
    train.add_argument("--learning-rate", type=_positive, help="instead of the recipe's")
    train.add_argument("--data", type=Path, help="folder of the data set's .gz files")
    train.add_argument("--runs", type=Path, default=Path("runs"), help="where checkpoints go (default runs/)")
    train.add_argument("--restart", action="store_true", help="forget an earlier checkpoint")
    train.set_defaults(run=_train)
    evaluate = commands.add_parser("evaluate", help="measure a card and write its metrics.json; with a knob as --name value only print")
    evaluate.add_argument("card", nargs="?", help="which card; or --all")
    evaluate.add_argument("--all", action="store_true", help="every trained card")
    evaluate.add_argument("--sweep", metavar="KNOB=VALUE,…", help="quality and cost for each value of a knob, into sweeps.json")
    evaluate.add_argument("--times", action="store_true", help="only measure again how long a picture takes, here and now")
    evaluate.add_argument("--judged", action="store_true", help="only judge the first test pictures again, into judged.json")
    evaluate.add_argument("--num-samples", type=int, default=10_000, help="pictures to generate and to test on")
    evaluate.add_argument("--seed", type=_whole(0), default=0)
    evaluate.add_argument("--device", default="auto", choices=["auto", "cpu", "cuda", "mps"])
    evaluate.add_argument("--threads", type=_whole(0), default=0, help="CPU threads (default: all)")
    evaluate.add_argument("--data", type=Path, help="folder of the data set's .gz files")
    evaluate.set_defaults(run=_evaluate)
    publish = commands.add_parser("publish", help="put a card on the Hugging Face Hub, as a repo of its own; the token is HF_TOKEN's")
    publish.add_argument("card", nargs="?", help="which card; or --all")
    publish.add_argument("--all", action="store_true", help="every card whose files are here")
    publish.add_argument("--namespace", required=True, help="your user name on the Hub, or an organization's: the repo is NAMESPACE/CARD")
    publish.add_argument("--private", action="store_true", help="a new repo is seen by nobody else")
    publish.add_argument("--yes", action="store_true", help="overwrite other content of the repo without asking")
    publish.add_argument("--dry-run", action="store_true", help="only say what would be done")
    publish.add_argument("--record", action="store_true", help="write the repo and its commit into models.toml")
    publish.set_defaults(run=_publish)
    return parser


def _serve(options: argparse.Namespace, rest: Sequence[str]) -> None:
    from playground.ui import serve

    settings = Settings.from_environment()
    serve(settings if options.port is None else settings.model_copy(update={"port": options.port}))


def _sample(options: argparse.Namespace, rest: Sequence[str]) -> None:
    from playground.sampling import sample_to

    for path in sample_to(options.out, options.card, list(rest), Settings.from_environment()):
        print(path)


def _fetch(options: argparse.Namespace, rest: Sequence[str]) -> None:
    from playground.engine import Engine
    from playground.library import Library

    library = Library(Engine(Settings.from_environment()))
    finding = library.look(options.model)
    print(
        f"{finding.card.title}: {finding.parameters / 1e6:,.1f} million parameters, {finding.bytes / 1e6:,.0f} MB. {finding.note}".rstrip()
    )
    for step in library.adopt(finding):
        if step.total and sys.stderr.isatty():
            print(f"\r{step.done / 1e6:,.0f} of {step.total / 1e6:,.0f} MB", end="", file=sys.stderr, flush=True)
    print(finding.card.id)


def _train(options: argparse.Namespace, rest: Sequence[str]) -> None:
    from playground.device import has_bf16, pick_device
    from playground.training.run import TrainingRun

    settings = Settings.from_environment()
    if options.bf16 and not has_bf16(pick_device(options.device)):
        print("playground: This processor has no bfloat16 of its own: --bf16 makes it slower, by several times.", file=sys.stderr)
    if options.all:
        _train_all(options)
        return
    folder = TrainingRun(
        card=_named(options),
        minutes=options.minutes,
        steps=options.steps,
        seed=options.seed,
        device=options.device,
        threads=options.threads,
        learning_rate=options.learning_rate,
        data=options.data or settings.data_dir,
        runs=options.runs,
        weights=settings.weights_dir,
        restart=options.restart,
        bf16=options.bf16,
        further=options.further,
    ).run()
    print(folder)


def _train_all(options: argparse.Namespace) -> None:
    from playground.device import pick_device
    from playground.training.run import RECIPES
    from playground.training.zoo import Zoo

    on_cpu = pick_device(options.device).type == "cpu"
    passed = ["--seed", str(options.seed), "--device", options.device]
    passed += ["--threads", str(options.threads or 1)] if on_cpu else []
    passed += ["--data", str(options.data)] if options.data else []
    passed += [flag for flag in ("--bf16", "--further", "--restart") if getattr(options, flag.lstrip("-"))]
    shares = {card: recipe.share for card, recipe in RECIPES.items()}
    last = [card for card, recipe in RECIPES.items() if recipe.begins_with and not options.further]
    Zoo(options.minutes, options.jobs or (os.cpu_count() or 1 if on_cpu else 4), shares, passed, options.runs, last).run()


def _named(options: argparse.Namespace) -> str:
    if not options.card:
        raise UnknownCard("No card was named.", "Name one, or write --all.")
    return str(options.card)


def _evaluate(options: argparse.Namespace, rest: Sequence[str]) -> None:
    from playground.sampling import read_options
    from playground.training.evaluate import EvaluationRun

    settings = Settings.from_environment()
    run = EvaluationRun(
        settings,
        data=options.data or settings.data_dir,
        num_samples=options.num_samples,
        seed=options.seed,
        device=options.device,
        threads=options.threads,
        knobs=read_options(rest),
    )
    if options.sweep is not None:
        from playground.training.sweep import Sweep

        Sweep.read(run, options.sweep).run(_named(options))
        return
    chosen = run.trained() if options.all else [_named(options)]
    if options.times:
        from playground.training.times import Times

        for line in Times(run).run(chosen):
            print(line, flush=True)
        return
    if not options.judged:
        run.run(chosen)
    if not run.knobs:
        from playground.training.judgements import Judgements

        for line in Judgements(run).run(chosen):
            print(line, flush=True)


def _publish(options: argparse.Namespace, rest: Sequence[str]) -> None:
    from playground.hub.publishing import Publisher

    settings = Settings.from_environment()
    publisher = Publisher(
        settings.weights_dir,
        options.namespace,
        agree=(lambda question: True) if options.yes else _agree,
        private=options.private,
        dry_run=options.dry_run,
        record=options.record,
        timeout=settings.hub_timeout,
        retries=settings.hub_retries,
    )
    for line in publisher.run(publisher.publishable() if options.all else [_named(options)]):
        print(line, flush=True)


def _agree(question: str) -> bool:
    """Whether a person at the terminal says yes. Raises `BadRequest` when there is no terminal."""
    if not sys.stdin.isatty():
        raise BadRequest(f"{question} There is no terminal to answer at.", "Say --yes, or leave the repo as it is.")
    try:
        return input(f"{question} [y/N] ").strip().lower() in ("y", "yes")
    except EOFError:
        return False


if __name__ == "__main__":
    sys.exit(main())
