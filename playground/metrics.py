"""TEMPORARY stand-in."""
import torch
def psnr_db(x, y): return -10*torch.log10(((x-y)/2).square().flatten(1).mean(1))
def ssim(x, y): return torch.ones(len(x))
