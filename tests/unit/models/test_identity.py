"""What is loaded is what is identified: weights in the loader's preference, adapters, tokenizer, template, settings."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from evalkit.errors import ConfigError, ModelError
from evalkit.models.checkpoints import weights_of

pytestmark = [
    pytest.mark.model,
    pytest.mark.filterwarnings("ignore::FutureWarning"),  # peft asks transformers by an old name
]


def load(folder: Path, **options: Any) -> Any:
    from evalkit.models.openmind import OpenMindLM

    return OpenMindLM(str(folder), device="cpu", loader="transformers", **options)


def identity(folder: Path, **options: Any) -> dict[str, Any]:
    return dict(load(folder, **options).describe()["identity"])


def change(folder: Path, factor: float, name: str = "model.safetensors") -> None:
    from safetensors.torch import load_file, save_file

    tensors = load_file(folder / name)
    tensors["lm_head.weight"] = tensors["lm_head.weight"] * factor
    save_file(tensors, folder / name, metadata={"format": "pt"})


def write_adapter(base: Path, folder: Path) -> Path:
    """Write a LoRA of which every matrix is random."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(0)
    model = get_peft_model(
        AutoModelForCausalLM.from_pretrained(str(base)),
        LoraConfig(r=2, lora_alpha=8, target_modules=["q_proj", "v_proj"], init_lora_weights=False),
    )
    model.save_pretrained(str(folder))
    return folder


def test_the_weights_that_transformers_loads_are_those_that_count(
    tmp_path: Path, make_checkpoint: Callable[..., Path]
) -> None:
    both = make_checkpoint(tmp_path / "both", shards=True)
    shards = identity(both)
    single = make_checkpoint(tmp_path / "single")
    change(single, 2.0)
    shutil.copy(single / "model.safetensors", both)
    lm = load(both)
    # The oracle is what is in memory.
    assert bool((lm.model.lm_head.weight == load(single).model.lm_head.weight).all())
    record = lm.describe()
    assert record["weights"] == ["model.safetensors"]
    assert "model.safetensors.index.json" in record["weights_unused"]
    assert record["identity"]["model"]["model_fingerprint"] != shards["model"]["model_fingerprint"]
    assert any("two sets of weights" in line for line in lm.remarks())
    # An index whose shards are gone is no error then.
    for shard in both.glob("model-0*"):
        shard.unlink()
    assert load(both).describe()["weights"] == ["model.safetensors"]
    (both / "model.safetensors").unlink()
    with pytest.raises(ModelError, match="weights are missing: model-00001"):
        load(both)


def test_the_order_of_preference(tmp_path: Path) -> None:
    (tmp_path / "pytorch_model.bin.index.json").write_text('{"metadata": {}, "weight_map": {"a": "x.bin"}}')
    (tmp_path / "model.safetensors.index.json").write_text('{"metadata": {}, "weight_map": {"a": "y.safetensors"}}')
    assert [file.name for file in weights_of(tmp_path).files] == ["y.safetensors"]
    (tmp_path / "pytorch_model.bin").touch()
    assert [file.name for file in weights_of(tmp_path).files] == ["y.safetensors"]
    assert [file.name for file in weights_of(tmp_path, {"use_safetensors": False}).files] == ["pytorch_model.bin"]
    (tmp_path / "model.safetensors").touch()
    assert [file.name for file in weights_of(tmp_path).files] == ["model.safetensors"]


def test_an_adapter_beside_weights_is_never_applied_by_itself(own_checkpoint: Path, tmp_path: Path) -> None:
    plain = load(own_checkpoint)
    adapter = write_adapter(own_checkpoint, tmp_path / "adapter")
    for file in adapter.glob("adapter_*"):
        shutil.copy(file, own_checkpoint)
    with pytest.raises(ModelError, match=r"lies beside full weights; .* --adapter "):
        load(own_checkpoint)
    applied = load(own_checkpoint, adapter=str(own_checkpoint))
    assert any("is applied" in line for line in applied.remarks())
    mine, theirs = applied.describe(), plain.describe()
    assert mine["adapter"]["sha256"] == mine["identity"]["model"]["adapter"]
    assert mine["model_fingerprint"] != theirs["model_fingerprint"]
    assert theirs["adapter"] is None


def test_an_adapter_is_applied_once_and_as_peft_applies_it(own_checkpoint: Path, tmp_path: Path) -> None:
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    adapter = write_adapter(own_checkpoint, tmp_path / "adapter")
    ids = torch.arange(5, 25)[None]
    with torch.no_grad():
        base = AutoModelForCausalLM.from_pretrained(str(own_checkpoint))
        before = base(ids).logits
        expected = PeftModel.from_pretrained(base, str(adapter)).eval()(ids).logits
        found = load(own_checkpoint, adapter=str(adapter)).model(ids).logits
    assert torch.allclose(found, expected, atol=1e-5)
    assert not torch.allclose(found, before, atol=1e-3)


def test_adapters_that_cannot_be_applied(own_checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no such folder"):
        load(own_checkpoint, adapter=str(tmp_path / "nothing"))
    with pytest.raises(ModelError, match=r"no adapter_config\.json"):
        load(own_checkpoint, adapter=str(own_checkpoint))
    adapter = write_adapter(own_checkpoint, tmp_path / "adapter")
    config = json.loads((adapter / "adapter_config.json").read_text())
    (adapter / "adapter_config.json").write_text(json.dumps({**config, "target_modules": ["no_such_layer"]}))
    with pytest.raises(ModelError, match="does not fit MistralForCausalLM"):
        load(own_checkpoint, adapter=str(adapter))
    with pytest.raises(ConfigError, match="adapter: the built-in model 'tiny' takes none"):
        load(Path("tiny"), adapter=str(adapter))


@pytest.mark.parametrize(
    ("file", "change_to", "group"),
    [
        ("tokenizer.json", lambda body: {**body, "truncation": {**_TRUNCATION}}, "tokenizer"),
        ("tokenizer_config.json", lambda body: {**body, "chat_template": "{{ messages }}"}, "chat_template"),
        ("generation_config.json", lambda body: {**body, "repetition_penalty": 1.3}, "generation"),
        ("generation_config.json", lambda body: {**body, "eos_token_id": [1, 9]}, "generation"),
    ],
)
def test_what_changes_an_answer_is_in_the_identity(own_checkpoint: Path, file: str, change_to: Any, group: str) -> None:
    before = identity(own_checkpoint)
    path = own_checkpoint / file
    path.write_text(json.dumps(change_to(json.loads(path.read_text(encoding="utf-8")))), encoding="utf-8")
    assert identity(own_checkpoint)[group] != before[group]


_TRUNCATION = {"direction": "Right", "max_length": 9000, "strategy": "LongestFirst", "stride": 0}


def test_settings_beyond_the_protocol_are_named_and_have_no_effect(own_checkpoint: Path) -> None:
    plain = load(own_checkpoint)
    path = own_checkpoint / "generation_config.json"
    body = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**body, "repetition_penalty": 1.3, "no_repeat_ngram_size": 2}), encoding="utf-8")
    lm = load(own_checkpoint)
    assert lm.describe()["generation"]["ignored"] == {"repetition_penalty": 1.3, "no_repeat_ngram_size": 2}
    assert any("repetition_penalty=1.3" in line for line in lm.remarks())
    from lm_eval.api.instance import Instance

    def texts(model: Any) -> list[str]:
        settings = {"until": ["\n\n\n\n"], "max_gen_toks": 24, "do_sample": False}
        asked = [
            Instance("generate_until", {}, (text, dict(settings)), k, ("humaneval", k, 1))
            for k, text in enumerate(["def f(x):\n", "a a a a a"])
        ]
        return list(model.generate_until(asked))

    assert texts(lm) == texts(plain)


def test_weights_that_change_while_they_are_loaded_are_refused(own_checkpoint: Path) -> None:
    lm = load(own_checkpoint)
    change(own_checkpoint, 3.0)
    with pytest.raises(ModelError, match="its weights changed while they were loaded"):
        lm.describe()


def test_what_lies_beside_an_adapter_is_named(tmp_path: Path, make_checkpoint: Callable[..., Path]) -> None:
    from evalkit.models.openmind import OpenMindLM

    base = make_checkpoint(tmp_path / "base")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        adapter, other = write_adapter(base, tmp_path / "adapter"), write_adapter(base, tmp_path / "other")
    shutil.copy(base / "tokenizer.json", adapter)
    for file in other.glob("adapter_*"):
        shutil.copy(file, base)
    said = "\n".join(OpenMindLM(str(base), device="cpu", adapter=str(adapter)).remarks())
    assert f"adapter {adapter} is applied" in said
    assert f"the other adapter that lies beside the weights in {base} is not applied" in said
    assert f"--tokenizer {adapter} takes it" in said
    said = "\n".join(OpenMindLM(str(base), device="cpu", adapter=str(adapter), tokenizer=str(adapter)).remarks())
    assert "--tokenizer" not in said


def kinds_of_adapters() -> dict[str, Any]:
    import peft

    two = ["q_proj", "v_proj"]
    return {
        "lora": peft.LoraConfig(r=2, target_modules=two, use_rslora=True, bias="lora_only"),
        "dora": peft.LoraConfig(r=2, target_modules="all-linear", use_dora=True, modules_to_save=["lm_head"]),
        "adalora": peft.AdaLoraConfig(target_modules=two, total_step=10, init_r=3, target_r=2),
        "vera": peft.VeraConfig(r=4, target_modules=["q_proj"], save_projection=False),
        "loha": peft.LoHaConfig(r=2, target_modules=two),
        "ia3": peft.IA3Config(target_modules=["k_proj"], feedforward_modules=[]),
    }


@pytest.mark.parametrize("kind", ["lora", "dora", "adalora", "vera", "loha", "ia3"])
def test_a_model_with_an_adapter_gives_the_numbers_of_pefts_own(
    own_checkpoint: Path, tmp_path: Path, kind: str
) -> None:
    import torch
    from peft import PeftModel, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(0)
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")
        base = AutoModelForCausalLM.from_pretrained(str(own_checkpoint))
        made = get_peft_model(base, kinds_of_adapters()[kind])
        for parameter in made.parameters():
            if parameter.requires_grad:  # adapters begin as nothing
                parameter += torch.randn_like(parameter) * 0.1
        made.save_pretrained(str(tmp_path / "adapter"))
        ids = torch.arange(5, 25)[None]
        base = AutoModelForCausalLM.from_pretrained(str(own_checkpoint))
        before = base(ids).logits
        expected = PeftModel.from_pretrained(base, str(tmp_path / "adapter")).eval()(ids).logits
        found = load(own_checkpoint, adapter=str(tmp_path / "adapter")).model(ids).logits
    assert torch.equal(found, expected)
    assert not torch.allclose(found, before, atol=1e-3)


def test_settings_that_peft_does_not_know_are_refused_where_they_are_on(own_checkpoint: Path, tmp_path: Path) -> None:
    adapter = write_adapter(own_checkpoint, tmp_path / "adapter")
    settings = json.loads((adapter / "adapter_config.json").read_text())
    off = {"use_later": False, "later_config": None, "later_list": [], "later_share": 0.0}
    (adapter / "adapter_config.json").write_text(json.dumps({**settings, **off}))
    load(own_checkpoint, adapter=str(adapter))
    (adapter / "adapter_config.json").write_text(json.dumps({**settings, **off, "use_later": True}))
    with pytest.raises(ModelError, match=r"use_later=true is unknown to peft .*pip install -U peft"):
        load(own_checkpoint, adapter=str(adapter))
    (adapter / "adapter_config.json").write_text(json.dumps({**settings, "peft_type": "LATER"}))
    with pytest.raises(ModelError, match=r"names the kind 'LATER', which peft .* does not know"):
        load(own_checkpoint, adapter=str(adapter))


def add_weight(folder: Path, name: str, values: Any) -> None:
    from safetensors.torch import load_file, save_file

    tensors = load_file(folder / "model.safetensors")
    save_file({**tensors, name: values}, folder / "model.safetensors", metadata={"format": "pt"})


def test_a_head_of_its_own_stays_though_the_configuration_ties(
    tmp_path: Path, make_checkpoint: Callable[..., Path]
) -> None:
    """transformers keeps the file's head; tying again after loading would put the embedding in its place."""
    import torch
    import transformers
    from safetensors.torch import load_file

    folder = make_checkpoint(tmp_path / "model", tied=True)
    embedding = load_file(folder / "model.safetensors")["model.embed_tokens.weight"]
    add_weight(folder, "lm_head.weight", torch.flip(embedding, (0,)).contiguous())
    plain = transformers.AutoModelForCausalLM.from_pretrained(str(folder))
    ids = torch.tensor([[5, 6, 7, 8]])
    with torch.inference_mode():
        assert torch.equal(load(folder).model(ids).logits, plain(ids).logits)


@pytest.mark.parametrize("name", ["model.layers.9.mlp.up_proj.weight", "model.layers.0.self_attn.q_proj.bias"])
def test_weights_without_a_place_are_refused(own_checkpoint: Path, name: str) -> None:
    import torch

    add_weight(own_checkpoint, name, torch.zeros(4))
    with pytest.raises(ModelError, match=f"1 weights that .* has no place for by config.json, such as {name}"):
        load(own_checkpoint)


def test_weights_of_another_part_are_named(own_checkpoint: Path) -> None:
    import torch

    add_weight(own_checkpoint, "vision_tower.patch.weight", torch.zeros(4))
    assert any("are not part of" in line and "vision_tower" in line for line in load(own_checkpoint).remarks())


@pytest.mark.parametrize(
    ("change", "kind"),
    [({"alora_invocation_tokens": [1, 2]}, "activated LoRA"), ({"peft_type": "PROMPT_TUNING"}, "PROMPT_TUNING")],
)
def test_adapters_that_are_more_than_layers_are_refused(
    own_checkpoint: Path, tmp_path: Path, change: dict[str, Any], kind: str
) -> None:
    adapter = write_adapter(own_checkpoint, tmp_path / "adapter")
    settings = json.loads((adapter / "adapter_config.json").read_text())
    (adapter / "adapter_config.json").write_text(json.dumps({**settings, **change}))
    with pytest.raises(ModelError, match=f"of the kind {kind} is more than layers"):
        load(own_checkpoint, adapter=str(adapter))


def test_a_tokenizers_dropout_is_off(own_checkpoint: Path) -> None:
    content = json.loads((own_checkpoint / "tokenizer.json").read_text())
    content["model"]["dropout"] = 0.5
    (own_checkpoint / "tokenizer.json").write_text(json.dumps(content))
    tokenizer = load(own_checkpoint).tokenizer
    assert len({tuple(tokenizer.encode("The quick brown fox jumps over the lazy dog")) for _ in range(20)}) == 1


def test_a_context_of_no_tokens_is_refused(own_checkpoint: Path) -> None:
    config = json.loads((own_checkpoint / "config.json").read_text())
    (own_checkpoint / "config.json").write_text(json.dumps({**config, "max_position_embeddings": -1}))
    with pytest.raises(ModelError, match="a context of -1 tokens; say how many it has with --max-length"):
        load(own_checkpoint)


def test_an_adapter_of_pickled_weights_is_the_same_adapter(own_checkpoint: Path, tmp_path: Path) -> None:
    import torch
    from safetensors.torch import load_file

    adapter = write_adapter(own_checkpoint, tmp_path / "adapter")
    ids = torch.tensor([[5, 6, 7, 8]])
    with torch.inference_mode():
        expected = load(own_checkpoint, adapter=str(adapter)).model(ids).logits
    torch.save(load_file(adapter / "adapter_model.safetensors"), adapter / "adapter_model.bin")
    (adapter / "adapter_model.safetensors").unlink()
    with torch.inference_mode():
        assert torch.equal(load(own_checkpoint, adapter=str(adapter)).model(ids).logits, expected)
        assert not torch.equal(load(own_checkpoint).model(ids).logits, expected)


def test_an_adapter_with_other_rows_of_tokens_names_both(own_checkpoint: Path, tmp_path: Path) -> None:
    import torch
    from safetensors.torch import load_file, save_file

    adapter = write_adapter(own_checkpoint, tmp_path / "adapter")
    file = adapter / "adapter_model.safetensors"
    name = "base_model.model.lm_head.modules_to_save.weight"
    save_file({**load_file(file), name: torch.zeros(2050, 64)}, file)
    with pytest.raises(ModelError, match=r"brings 2,050 rows of tokens .*, the model has 2,048"):
        load(own_checkpoint, adapter=str(adapter))


def logits(lm: Any) -> Any:
    import torch

    with torch.no_grad():
        return lm.model(torch.tensor([[5, 6, 7, 8, 9]])).logits.clone()


def overwrite(folder: Path) -> None:
    """Write zeros over the weights in place, as a training that saves into the same file does."""
    file = folder / "model.safetensors"
    size = file.stat().st_size
    with file.open("r+b") as stream:
        stream.seek(20_000)
        stream.write(bytes(size - 20_000))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_file_that_is_overwritten_under_way_changes_no_answer(own_checkpoint: Path, dtype: str) -> None:
    lm = load(own_checkpoint, dtype=dtype)
    before, identified = logits(lm), lm.describe()
    overwrite(own_checkpoint)
    assert logits(lm).equal(before)
    assert lm.describe() == identified
    assert not logits(load(own_checkpoint, dtype=dtype)).equal(before)


def test_so_does_an_adapters_file(own_checkpoint: Path, tmp_path: Path) -> None:
    adapter = write_adapter(own_checkpoint, tmp_path / "adapter")
    lm = load(own_checkpoint, adapter=str(adapter))
    before, file = logits(lm), adapter / "adapter_model.safetensors"
    size = file.stat().st_size
    with file.open("r+b") as stream:
        stream.seek(2_000)
        stream.write(bytes(size - 2_000))
    assert logits(lm).equal(before)


@pytest.mark.no_cover
def test_a_file_that_is_shortened_under_way_ends_nothing(own_checkpoint: Path) -> None:
    """In a process of its own: a mapped file that is cut ends it with SIGBUS."""
    program = (
        "import os, sys, torch, evalkit.models\n"
        "from evalkit.models.openmind import OpenMindLM\n"
        "lm = OpenMindLM(sys.argv[1], device='cpu', dtype='float32')\n"
        "os.truncate(sys.argv[1] + '/model.safetensors', 1000)\n"
        "print(float(lm.model(torch.tensor([[5, 6, 7]])).logits.abs().sum()) > 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", program, str(own_checkpoint)], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "True\n"), done.stderr


def test_weights_left_on_the_disk_are_looked_at_before_each_result(own_checkpoint: Path, tmp_path: Path) -> None:
    places = {"model.embed_tokens": "cpu", "model.layers.0": "cpu", "model.layers.1": "disk", "model.norm": "cpu"}
    places |= {"lm_head": "cpu", "model.rotary_emb": "cpu"}
    lm = load(own_checkpoint, dtype="float32", device_map=places, offload_folder=str(tmp_path / "off"))
    lm.describe()
    lm.check_in_use()
    overwrite(own_checkpoint)
    with pytest.raises(ModelError, match="its weights changed while they were in use"):
        lm.check_in_use()
