"""A stand-in for the modules `tensorrt` and `tensorrt_rtx` on a `FakeCuda`.

A plan is the ONNX itself behind a header. A context reads and writes the addresses that it was
given, when its stream gets to it, by way of ONNX Runtime on the processor.
"""

import enum
import functools
import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime

HEADER = b"plan of "
CONTEXT_BYTES = 4096


class ILogger:
    class Severity(enum.Enum):
        INTERNAL_ERROR = 0
        ERROR = 1
        WARNING = 2
        INFO = 3
        VERBOSE = 4

    INTERNAL_ERROR = Severity.INTERNAL_ERROR
    ERROR = Severity.ERROR
    WARNING = Severity.WARNING
    INFO = Severity.INFO
    VERBOSE = Severity.VERBOSE

    def log(self, severity, msg):
        raise NotImplementedError


class Logger(ILogger):
    def __init__(self, min_severity=ILogger.WARNING):
        self.min_severity = min_severity

    def log(self, severity, msg):
        """Into nowhere."""


class DataType(enum.Enum):
    FLOAT = onnx.TensorProto.FLOAT
    HALF = onnx.TensorProto.FLOAT16
    INT8 = onnx.TensorProto.INT8
    INT32 = onnx.TensorProto.INT32
    INT64 = onnx.TensorProto.INT64
    BOOL = onnx.TensorProto.BOOL
    UINT8 = onnx.TensorProto.UINT8


class TensorIOMode(enum.Enum):
    NONE = 0
    INPUT = 1
    OUTPUT = 2


class LayerInformationFormat(enum.Enum):
    ONELINE = 0
    JSON = 1


class ProfilingVerbosity(enum.Enum):
    LAYER_NAMES_ONLY = 0
    NONE = 1
    DETAILED = 2


class BuilderFlag(enum.Enum):
    TF32 = 0


class MemoryPoolType(enum.Enum):
    WORKSPACE = 0


class NetworkDefinitionCreationFlag(enum.Enum):
    """As TensorRT 11 has it: what used to be chosen is how every network is."""


class IProgressMonitor:
    """Never told anything: it is done at once."""


class FakeTensorRt:
    """The module.

    Args:
        cuda: what its engines run on.
        name: the module's.
    """

    ILogger = ILogger
    Logger = Logger
    IProgressMonitor = IProgressMonitor
    BuilderFlag = BuilderFlag
    DataType = DataType
    LayerInformationFormat = LayerInformationFormat
    MemoryPoolType = MemoryPoolType
    NetworkDefinitionCreationFlag = NetworkDefinitionCreationFlag
    ProfilingVerbosity = ProfilingVerbosity
    TensorIOMode = TensorIOMode

    def __init__(self, cuda, name="tensorrt"):
        self.cuda = cuda
        self.__name__ = name
        self.__version__ = "10.16.1"
        self.in_capture = "works"  # or is "refused", or makes the capture "invalid"
        self.refuses = False  # every execution
        self.Runtime = functools.partial(Runtime, self)
        self.Builder = functools.partial(Builder, self)
        self.OnnxParser = OnnxParser

    @property
    def header(self):
        return HEADER + f"{self.__name__} {self.__version__}\n".encode()


class Network:
    model = b""


class IBuilderConfig:
    profiling_verbosity = ProfilingVerbosity.LAYER_NAMES_ONLY
    builder_optimization_level = 3
    progress_monitor = None

    def set_memory_pool_limit(self, pool, pool_size):
        assert (pool, pool_size > 0) == (MemoryPoolType.WORKSPACE, True)

    def clear_flag(self, flag):
        assert isinstance(flag, BuilderFlag)


class Builder:
    def __init__(self, library, logger):
        self._library = library
        self._logger = logger

    def create_network(self, flags=0):
        assert flags == 0, "there is nothing to choose"
        return Network()

    def create_builder_config(self):
        return IBuilderConfig()

    def build_serialized_network(self, network, config):
        assert config.profiling_verbosity is ProfilingVerbosity.DETAILED
        return memoryview(self._library.header + network.model)


class OnnxParser:
    num_errors = 0

    def __init__(self, network, logger):
        self._network = network
        self._logger = logger

    def parse_from_file(self, model):
        self._network.model = Path(model).read_bytes()
        return True


class Runtime:
    def __init__(self, library, logger):
        assert isinstance(logger, ILogger)
        self._library = library
        self._logger = logger

    def deserialize_cuda_engine(self, serialized_engine):
        plan = bytes(serialized_engine)
        header = self._library.header
        if not plan.startswith(header):
            self._say("Serialization assertion header.magicTag == kEXPECTED_MAGIC_TAG failed")
            return None
        try:
            model = onnx.load_from_string(plan[len(header) :])
            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = 1
            session = onnxruntime.InferenceSession(
                model.SerializeToString(), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # noqa: BLE001 - whatever damage does to a plan
            self._say(f"Deserialization failed:\n{error}")
            return None
        return ICudaEngine(self._library, self._logger, model, session)

    def _say(self, message):
        self._logger.log(ILogger.ERROR, message)


class ICudaEngine:
    def __init__(self, library, logger, model, session):
        self.library, self.logger = library, logger
        self.model, self.session = model, session
        self._tensors = {
            value.name: (value.type.tensor_type, mode)
            for values, mode in (
                (model.graph.input, TensorIOMode.INPUT),
                (model.graph.output, TensorIOMode.OUTPUT),
            )
            for value in values
        }

    @property
    def num_io_tensors(self):
        return len(self._tensors)

    def get_tensor_name(self, index):
        return list(self._tensors)[index]

    def get_tensor_mode(self, name):
        return self._tensors[name][1]

    def get_tensor_dtype(self, name):
        return DataType(self._tensors[name][0].elem_type)

    def get_tensor_shape(self, name):
        return [dim.dim_value for dim in self._tensors[name][0].shape.dim]

    def create_execution_context(self):
        memory = self.library.cuda.take(CONTEXT_BYTES)
        if memory is None:
            self.logger.log(ILogger.ERROR, "Error Code 1: Cuda Runtime (out of memory)")
            return None
        return IExecutionContext(self, memory)

    def create_engine_inspector(self):
        return EngineInspector(self)


class EngineInspector:
    def __init__(self, engine):
        self._engine = engine

    def get_engine_information(self, format):  # noqa: A002 - its name
        assert format is LayerInformationFormat.JSON
        layers = [
            {
                "Name": node.name,
                "LayerType": "CaskConvolution" if node.op_type == "Conv" else node.op_type,
                "Inputs": [{"Name": node.input[0], "Format/Datatype": "Row major linear FP32"}],
            }
            for node in self._engine.model.graph.node
        ]
        return json.dumps({"Layers": layers, "Bindings": []})


class IExecutionContext:
    def __init__(self, engine, memory):
        self._engine = engine
        self._memory = memory
        self._addresses = {}
        self._warm = False

    def set_tensor_address(self, name, memory):
        self._addresses[name] = memory
        return True

    def execute_async_v3(self, stream_handle):
        library, cuda = self._engine.library, self._engine.library.cuda
        names = [self._engine.get_tensor_name(i) for i in range(self._engine.num_io_tensors)]
        assert set(names) == set(self._addresses), "an address is missing"
        if cuda.capturing(stream_handle):
            assert self._warm, "what is done at the first run only would be captured"
            if library.in_capture != "works":
                cuda.break_capture(stream_handle)
            if library.in_capture == "refused":
                return self._refuse("operation not permitted when stream is capturing")
        if library.refuses or cuda.lost is not None:
            return self._refuse("the execution failed")
        self._warm = True
        views = {name: self._view(name) for name in names}
        touches = [(array.ctypes.data, array.nbytes) for array in views.values()]
        cuda.enqueue(stream_handle, self._run, touches)
        return True

    def _run(self):
        views = {name: self._view(name) for name in self._addresses}
        inputs = {i.name: np.array(views[i.name]) for i in self._engine.session.get_inputs()}
        outputs = [output.name for output in self._engine.session.get_outputs()]
        for name, value in zip(outputs, self._engine.session.run(outputs, inputs), strict=True):
            views[name][...] = value

    def _view(self, name):
        shape = self._engine.get_tensor_shape(name)
        dtype = onnx.helper.tensor_dtype_to_np_dtype(self._engine.get_tensor_dtype(name).value)
        return self._engine.library.cuda.view(self._addresses[name], shape, dtype)

    def _refuse(self, message):
        self._engine.logger.log(ILogger.ERROR, message)
        return False

    def __del__(self):
        self._engine.library.cuda.give_back(self._memory)
