"""Parts of `cofactor.capture`; these modules import torch, and only capture() imports them."""
