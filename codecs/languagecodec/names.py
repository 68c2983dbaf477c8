"""Where each tensor of a published Language-Codec checkpoint belongs."""

from echoic.codecs.languagecodec.config import LanguageCodecConfig

ENCODER = "feature_extractor.encodec.encoder.model."
QUANTIZER = "feature_extractor.encodec.quantizer.vq.layers."
BACKBONE = "backbone."
HEAD = "head."

_KINDS = ("weight", "bias")


def name_table(config: LanguageCodecConfig) -> dict[str, str]:
    """Return our name of each plain tensor of encoder and decoder, by its published name."""
    return _encoder(config) | _decoder(config)


def _encoder(config: LanguageCodecConfig) -> dict[str, str]:
    names: dict[str, str] = {}
    stages = len(config.ratios)
    convs = [3 * stage for stage in range(stages + 1)]
    lstm = 3 * stages + 1
    for kind in _KINDS:
        for place in [*convs, lstm + 2]:
            names[f"{ENCODER}{place}.conv.conv.{kind}"] = f"encoder.{place}.{kind}"
        for unit in (place + 1 for place in convs[:-1]):
            theirs, ours = f"{ENCODER}{unit}.", f"encoder.{unit}."
            names[f"{theirs}shortcut.conv.conv.{kind}"] = f"{ours}shortcut.{kind}"
            for place in (1, 3):
                names[f"{theirs}block.{place}.conv.conv.{kind}"] = f"{ours}branch.{place}.{kind}"
        for side in ("ih", "hh"):
            for layer in range(config.lstm_layers):
                tensor = f"{kind}_{side}_l{layer}"
                names[f"{ENCODER}{lstm}.lstm.{tensor}"] = f"encoder.{lstm}.{tensor}"
    return names


def _decoder(config: LanguageCodecConfig) -> dict[str, str]:
    names: dict[str, str] = {}
    for kind in _KINDS:
        names[f"{BACKBONE}embed.{kind}"] = f"decoder.embed.{kind}"
        names[f"{BACKBONE}final_layer_norm.{kind}"] = f"decoder.final_norm.module.{kind}"
        names[f"{HEAD}out.{kind}"] = f"decoder.head.module.out.{kind}"
    for table in ("scale", "shift"):
        names[f"{BACKBONE}norm.{table}.weight"] = f"decoder.norm.module.{table}"
    for block in range(config.blocks):
        theirs, ours = f"{BACKBONE}convnext.{block}.", f"decoder.blocks.{block}.branch."
        names[f"{theirs}gamma"] = f"{ours}1.module.scale"
        for table in ("scale", "shift"):
            names[f"{theirs}norm.{table}.weight"] = f"{ours}1.module.norm.{table}"
        for kind in _KINDS:
            names[f"{theirs}dwconv.{kind}"] = f"{ours}0.{kind}"
            names[f"{theirs}pwconv1.{kind}"] = f"{ours}1.module.widen.{kind}"
            names[f"{theirs}pwconv2.{kind}"] = f"{ours}1.module.narrow.{kind}"
    return names
