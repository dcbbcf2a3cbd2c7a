"""`pretrain sample`: pictures of what a deep belief net generates."""

import math
from pathlib import Path

import click

import checkpoints
from pipelines.belief_nets import belief_net
from pipelines.commands.idle_options import CheckedCommand
from pipelines.commands.options import output_option, report_result, require_free_output, run_options
from pipelines.filters import image_shape, value_range
from pipelines.images import as_images, mosaic, save_pages
from pipelines.sampling import class_index, draw_frames, shades
from pretrain.device import resolve_device
from pretrain.exceptions import SettingsError
from pretrain.fantasies import GIBBS_STEPS


@click.command(
    cls=CheckedCommand,
    settle=lambda params: [params],
    epilog="Example: pretrain sample dbn.h5 --each-label -n 10 -o samples.png",
)
@click.argument("file", type=click.Path(dir_okay=False))
@output_option("the picture (.png; .gif with --gif)")
@click.option("-n", "--n-samples", type=click.IntRange(min=1), default=100, show_default=True, help="Rows to draw.")
@click.option("--label", help="Class to draw; without it the net chooses.")
@click.option("--each-label", is_flag=True, help="One line of -n samples for each class.")
@click.option(
    "--n-gibbs",
    type=click.IntRange(min=0),
    help=f"Steps before the first picture; {GIBBS_STEPS}, 0 with --gif.",
)
@click.option("--states", is_flag=True, help="States of the data and not their probabilities.")
@click.option("--gif", is_flag=True, help="The chains in motion.")
@click.option("--frames", type=click.IntRange(min=2), default=60, show_default=True, help="--gif: pictures.")
@click.option("--every", type=click.IntRange(min=1), default=5, show_default=True, help="--gif: steps between two.")
@run_options
def sample(
    file: str,
    output: Path,
    overwrite: bool,
    n_samples: int,
    label: str | None,
    each_label: bool,
    n_gibbs: int | None,
    states: bool,
    gif: bool,
    frames: int,
    every: int,
    seed: int,
    device: str,
    as_json: bool,
) -> None:
    """Draw rows from the deep belief net, or the stack of RBMs, in FILE.

    Gibbs sampling in the top two layers, with a label clamped or free, then one pass down to the data, whose pictures
    are of probabilities.
    """
    if label is not None and each_label:
        raise click.UsageError("--label and --each-label exclude each other.")
    if output.suffix.lower() != (".gif" if gif else ".png"):
        raise SettingsError(f"{output}: a picture is a .png; chains in motion, with --gif, are a .gif.")
    require_free_output(output, overwrite)
    net = belief_net(checkpoints.load(file)).to(resolve_device(device))
    labels = None
    if each_label:
        class_index(net, "" if net.classes is None else str(net.classes[0]))
        labels = [k for k in range(net.n_classes) for _ in range(n_samples)]
    elif label is not None:
        labels = [class_index(net, label)] * n_samples
    rows = draw_frames(
        net,
        labels,
        n_samples if labels is None else len(labels),
        n_gibbs=(0 if gif else GIBBS_STEPS) if n_gibbs is None else n_gibbs,
        n_frames=frames if gif else 1,
        every=every,
        states=states,
        seed=seed,
    )
    greys = shades(rows, net.scaling, value_range(file))
    n_columns = n_samples if each_label else math.ceil(math.sqrt(n_samples))
    pages = [mosaic(images, n_columns) for images in as_images(greys, image_shape(file))]
    save_pages(pages, output)
    result = {"output": str(output), "n_samples": rows.shape[1], "n_frames": len(pages), "label": label}
    report_result(result, [f"{output}: {rows.shape[1]} samples" + (f", {len(pages)} frames" if gif else "")], as_json)
