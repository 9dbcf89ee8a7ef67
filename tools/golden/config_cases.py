"""Makes the configuration cases of this folder: tiny models with random weights,
their configuration files, and what OpenCLIP and transformers answer. Run with torch,
open_clip and transformers: python make.py FOLDER"""
import json, os, sys
import numpy as np, torch
from PIL import Image
from safetensors.numpy import save_file

out = sys.argv[1]
torch.manual_seed(5)
TOKENS = [[38, 33, 4, 12, 39], [38, 34, 13, 22, 4, 31, 39]]
cases = []


def randomise(model):
    """Larger weights than at initialisation, so that settings show."""
    with torch.no_grad():
        for name, p in model.named_parameters():
            p.copy_(torch.randn(p.shape) * 0.4)
            if name.endswith(('ln_1.weight', 'ln_2.weight', 'norm1.weight', 'norm2.weight', 'layrnorm.weight', 'layernorm.weight', 'layer_norm.weight', 'ln_pre.weight', 'ln_post.weight', 'ln_final.weight')):
                p.add_(1)


def pad(rows, n=12):
    return torch.tensor([r + [0] * (n - len(r)) for r in rows])


def store(name, tensors):
    save_file({k: v.detach().float().contiguous().numpy() for k, v in tensors.items()}, os.path.join(out, name))


def open_clip_case(name, why, vision={}, text={}, tokens=TOKENS, size=(16, 16), quick_gelu=False, **more):
    from open_clip.model import CLIP, CLIPVisionCfg, CLIPTextCfg
    v = dict(image_size=16, layers=1, width=16, patch_size=4, head_width=8, mlp_ratio=2.0) | vision
    t = dict(context_length=12, vocab_size=40, width=16, heads=2, layers=1, mlp_ratio=2.0) | text
    model = CLIP(8, CLIPVisionCfg(**v), CLIPTextCfg(**t), quick_gelu=quick_gelu).eval()
    randomise(model)
    os.makedirs(os.path.join(out, name), exist_ok=True)
    store(name + '/open_clip_model.safetensors', {k: x for k, x in model.state_dict().items() if k != 'attn_mask'})
    config = dict(model_cfg=dict(embed_dim=8, quick_gelu=quick_gelu, vision_cfg=v, text_cfg=t), preprocess_cfg={})
    json.dump(config, open(os.path.join(out, name, 'open_clip_config.json'), 'w'))
    pixels = torch.randn(1, 3, *size)
    with torch.no_grad():
        store(name + '.expected.safetensors', dict(pixels=pixels, image=model.encode_image(pixels), text=model.encode_text(pad(tokens))))
    cases.append(dict(name=name, kind='config', path=name, model='clip', why=why, tokens=tokens, expected=name + '.expected.safetensors') | more)


def hugging_face_case(name, why, vision={}, text={}, top={}, edit=None, tokens=TOKENS, kind='clip', processor=None, **more):
    import transformers
    base = dict(hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2, projection_dim=8)
    v = base | dict(image_size=16, patch_size=4) | vision
    t = base | dict(vocab_size=40, max_position_embeddings=12, bos_token_id=38, eos_token_id=2) | text
    Config, Model = {'clip': (transformers.CLIPConfig, transformers.CLIPModel),
                     'metaclip_2': (transformers.MetaClip2Config, transformers.MetaClip2Model)}[kind]
    config = Config(text_config=t, vision_config=v, projection_dim=8, **top)
    model = Model(config).eval()
    randomise(model)
    os.makedirs(os.path.join(out, name), exist_ok=True)
    store(name + '/model.safetensors', {k: x for k, x in model.state_dict().items() if not k.endswith('position_ids')})
    d = model.config.to_dict()
    if edit:
        edit(d)
    json.dump(d, open(os.path.join(out, name, 'config.json'), 'w'), indent=1, sort_keys=True)
    case = dict(name=name, kind='config', path=name, model='clip', why=why, tokens=tokens, expected=name + '.expected.safetensors')
    pixels = torch.randn(1, 3, 16, 16)
    with torch.no_grad():
        image = model.visual_projection(model.vision_model(pixel_values=pixels).pooler_output)
        # without attention_mask, as EncodeTokens has none
        features = model.text_projection(model.text_model(input_ids=pad(tokens)).pooler_output)
    expected = dict(pixels=pixels, image=image, text=features)
    if processor:
        rgb = np.random.default_rng(3).integers(0, 256, (29, 24, 3), dtype=np.uint8)
        Image.fromarray(rgb).save(os.path.join(out, name, 'picture.png'))
        json.dump(processor, open(os.path.join(out, name, 'preprocessor_config.json'), 'w'), indent=1)
        # As transformers' CLIPImageProcessor on Pillow: resize, cut, rescale, normalise.
        img = Image.fromarray(rgb)
        short = processor['size']['shortest_edge']
        w, h = img.size
        wide = (short, int(short * h / w)) if w < h else (int(short * w / h), short)
        x = np.asarray(img.resize(wide, processor['resample'])).astype(np.float32)
        n = processor['crop_size']['height']
        top_, left = (x.shape[0] - n) // 2, (x.shape[1] - n) // 2
        x = x[top_:top_ + n, left:left + n]
        if processor['do_rescale']:
            x = x * np.float32(processor['rescale_factor'])
        if processor['do_normalize']:
            x = (x - np.float32(processor['image_mean'])) / np.float32(processor['image_std'])
        expected['prepared'] = torch.tensor(x.transpose(2, 0, 1))
        case |= dict(picture=name + '/picture.png', crop=n)
    store(name + '.expected.safetensors', expected)
    cases.append(case | more)


open_clip_case('eps', 'norm_kwargs of each tower', dict(norm_kwargs=dict(eps=0.1)), dict(norm_kwargs=dict(eps=0.02)))
open_clip_case('tanh_vision', 'act_kwargs of the image tower alone', dict(act_kwargs=dict(approximate='tanh')))
open_clip_case('quick_gelu', 'quick_gelu in both towers', quick_gelu=True)
open_clip_case('eos', 'pool_type eos with eos_id 20', {}, dict(pool_type='eos', eos_id=20), [[38, 5, 37, 9, 20], [38, 30, 6, 20, 3]])
open_clip_case('remainder', 'image_size 18, patch 4: a row and a column of pixels fill no patch', dict(image_size=18), size=(18, 18))
open_clip_case('heads', 'head_width 4, heads 4', dict(head_width=4), dict(heads=4))
open_clip_case('late_norm', 'final_ln_after_pool in both towers', dict(final_ln_after_pool=True), dict(final_ln_after_pool=True))
hugging_face_case('activations', 'hidden_act and layer_norm_eps of each tower', dict(hidden_act='gelu_new', layer_norm_eps=0.1), dict(hidden_act='relu', layer_norm_eps=0.02))
hugging_face_case('pytorch_tanh', 'hidden_act gelu_pytorch_tanh and gelu', dict(hidden_act='gelu_pytorch_tanh'), dict(hidden_act='gelu'))


def override(d):
    d['text_config_dict'] = dict(d['text_config'])
    d['text_config'] = dict(d['text_config'], hidden_act='relu', num_attention_heads=1, eos_token_id=5)


hugging_face_case('config_dict', 'text_config_dict replaces text_config', edit=override)
hugging_face_case('metaclip_2', 'eos_token_id 2 of metaclip_2 is that id', text=dict(eos_token_id=2), kind='metaclip_2',
                  tokens=[[38, 5, 37, 2, 20], [38, 30, 6, 2, 3]],
                  texts=['a cat'], texts_expect=dict(error={'is': ['vit.ErrConfig', 'vit.ErrToken'], 'words': ['tokenizer']}))
hugging_face_case('preprocessor', 'size 20, crop_size 16, bilinear, do_rescale false', processor=dict(
    image_processor_type='CLIPImageProcessor', do_resize=True, size=dict(shortest_edge=20), do_center_crop=True, crop_size=dict(height=16, width=16),
    do_rescale=False, rescale_factor=1 / 255, do_normalize=True, image_mean=[120.0, 110.0, 100.0], image_std=[60.0, 50.0, 70.0], resample=2, do_convert_rgb=True))

import open_clip, transformers
json.dump(dict(made_by=f'torch {torch.__version__.split("+")[0]}, open_clip {open_clip.__version__}, transformers {transformers.__version__}',
               tolerance_of_largest=5e-5, checkpoints=cases), open(os.path.join(out, 'checkpoints.json'), 'w'), indent=1)
