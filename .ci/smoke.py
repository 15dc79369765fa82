"""What the bare wheel must do, with NumPy alone: carry its data, no tests, no other import, and train."""

import importlib.metadata
import importlib.util
import sys
import zipfile

import tinygrad_bp as bp
from tinygrad_bp import data, nn, optim

names = zipfile.ZipFile(sys.argv[1]).namelist()
strangers = [name for name in names if not name.startswith(("tinygrad_bp/", "tinygrad_bp-"))]
assert not strangers, f"the wheel holds {strangers}"
assert {"tinygrad_bp/py.typed", "tinygrad_bp/data/digits.npz"} <= set(names), names
assert importlib.metadata.version("tinygrad_bp") == bp.__version__
assert "site-packages" in bp.__file__, bp.__file__
assert not [name for name in ("rich", "matplotlib", "safetensors") if importlib.util.find_spec(name)]

bp.manual_seed(0)
X_train, X_test, y_train, y_test = data.train_test_split(*data.digits())
net = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
loss = nn.CrossEntropyLoss()
optimizer = optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
for _epoch in range(10):
    for x, y in data.DataLoader(X_train, y_train, batch_size=32, shuffle=True):
        optimizer.zero_grad()
        loss(net(x), y).backward()
        optimizer.step()
correct = int((net(X_test).data.argmax(axis=1) == y_test).sum())
print(f"bare wheel: {correct} of {len(y_test)} digits right")
assert correct >= 340
