"""The same weights in every container that people save them in: one function each."""

import argparse
import json
import pickle
import warnings
from pathlib import Path

import numpy as np
import torch
import torch.distributed.checkpoint as dcp
from safetensors.torch import save_file, save_model
from torch import nn
from torch.optim import swa_utils


def torch_zip(folder, net):
    torch.save(net.state_dict(), folder / "model.pt")
    return folder / "model.pt"


def torch_legacy(folder, net):
    torch.save(net.state_dict(), folder / "model.pth", _use_new_zipfile_serialization=False)
    return folder / "model.pth"


def safetensors_file(folder, net):
    save_model(net, folder / "model.safetensors")
    return folder / "model.safetensors"


def sharded_safetensors(folder, net):
    return _sharded(folder, net, "model{}.safetensors", "model.safetensors", save_file)


def sharded_bins(folder, net):
    return _sharded(folder, net, "pytorch_model-{}.bin", "pytorch_model.bin", torch.save)


def index_of_shards(folder, net):
    return sharded_safetensors(folder, net) / "model.safetensors.index.json"


def lightning(folder, net):
    content = {
        "epoch": 3,
        "global_step": 7,
        "pytorch-lightning_version": "2.5.0",
        "state_dict": _prefixed("net.", net) | {"criterion.weight": torch.ones(3)},
        "optimizer_states": [_trained_optimizer(net)],
        "hparams_name": "kwargs",
        "hyper_parameters": argparse.Namespace(lr=0.1, root=Path("data"), best=np.float64(0.5)),
    }
    torch.save(content, folder / "last.ckpt")
    return folder / "last.ckpt"


def training_dict(folder, net):
    average = {name: tensor + 1 for name, tensor in net.state_dict().items()}
    content = {
        "epoch": 3,
        "model": net.state_dict(),
        "model_ema": average,
        "optimizer": _trained_optimizer(net),
        "scaler": {"scale": 65536.0},
        "numpy_random_state": np.random.default_rng(0).bit_generator.state,
        "best": np.float64(0.9),
    }
    torch.save(content, folder / "checkpoint.pth")
    return folder / "checkpoint.pth"


def mmengine(folder, net):
    content = {"meta": {"iter": 7, "epoch": 3}, "state_dict": net.state_dict()}
    torch.save(content, folder / "epoch_3.pth")
    return folder / "epoch_3.pth"


def averaged_model(folder, net):
    torch.save(swa_utils.AveragedModel(net).state_dict(), folder / "swa.pt")
    return folder / "swa.pt"


def parallel_and_compiled(folder, net):
    torch.save(_prefixed("_orig_mod.module.", net), folder / "ddp.pt")
    return folder / "ddp.pt"


def compiled_inside(folder, net):
    inside = {k.replace("stage1.", "stage1._orig_mod."): v for k, v in net.state_dict().items()}
    torch.save(_prefixed("module.", inside), folder / "compiled.pt")
    return folder / "compiled.pt"


def distributed(folder, net):
    content = {"model": net.state_dict(), "optim": {"state": {"a": torch.ones(3)}}, "step": 7}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that there is no process group
        dcp.save(content, checkpoint_id=folder / "step-7")
    return folder / "step-7"


def numpy_arrays(folder, net):
    np.savez(folder / "model.npz", **_arrays(net))
    return folder / "model.npz"


def trainer_folder(folder, net):
    path = folder / "checkpoint-7"
    path.mkdir()
    save_file(net.state_dict(), path / "model.safetensors")
    torch.save(_trained_optimizer(net), path / "optimizer.pt")
    (path / "rng_state.pth").write_bytes(b"no checkpoint")
    (path / "trainer_state.json").write_text(json.dumps({"global_step": 7}))
    return path


def whole_module(folder, net):
    torch.save(net, folder / "whole.pt")
    return folder / "whole.pt"


def pickled_arrays(folder, net):
    (folder / "model.pkl").write_bytes(pickle.dumps(_arrays(net)))
    return folder / "model.pkl"


def exported_program(folder, net):
    images = {0: torch.export.Dim("images", min=2)}
    x = torch.ones(4, 3, 8, 8)
    torch.export.save(
        torch.export.export(net, (x,), dynamic_shapes=(images,)), folder / "model.pt2"
    )
    return folder / "model.pt2"


def torchscript(folder, net):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it is deprecated
        torch.jit.trace(net, torch.ones(4, 3, 8, 8)).save(str(folder / "model.ts"))
    return folder / "model.ts"


DATA_ONLY = (
    torch_zip, torch_legacy, safetensors_file, sharded_safetensors, sharded_bins, index_of_shards,
    lightning, training_dict, mmengine, averaged_model, parallel_and_compiled, compiled_inside,
    distributed, numpy_arrays, trainer_folder,
)  # fmt: skip
PROGRAMS = (whole_module, pickled_arrays, exported_program, torchscript)


def _sharded(folder, net, names, index, save):
    state = net.state_dict()
    path = folder / "sharded"
    path.mkdir()
    places = {name: names.format(k % 3) for k, name in enumerate(state)}
    for file in set(places.values()):
        save({name: state[name] for name in state if places[name] == file}, path / file)
    (path / f"{index}.index.json").write_text(json.dumps({"weight_map": places}))
    return path


def _prefixed(prefix, net):
    state = net.state_dict() if isinstance(net, nn.Module) else net
    return {prefix + name: tensor for name, tensor in state.items()}


def _arrays(net):
    return {name: tensor.numpy() for name, tensor in net.state_dict().items()}


def _trained_optimizer(net):
    optimizer = torch.optim.Adam(net.parameters())
    for parameter in net.parameters():
        parameter.grad = torch.ones_like(parameter)
    state = [parameter.detach().clone() for parameter in net.parameters()]
    optimizer.step()  # which makes its state, and changes the weights
    with torch.no_grad():
        for parameter, value in zip(net.parameters(), state, strict=True):
            parameter.copy_(value)
            parameter.grad = None
    return optimizer.state_dict()
