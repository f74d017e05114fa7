"""What the array answers when it refuses: an HTTP status and ONTAP's code, message and target.

The codes are those clients branch on; each has its name here once, so that resources read like
their rules.
"""

from __future__ import annotations


class ApiError(Exception):
    """A refusal; the request leaves nothing behind."""

    def __init__(self, status: int, code: str, message: str, target: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.target = target

    def body(self) -> dict[str, object]:
        error = {"code": self.code, "message": self.message}
        return {"error": error | ({"target": self.target} if self.target else {})}


def no_such_entry(target: str = "") -> ApiError:
    return ApiError(404, "4", "entry doesn't exist", target)


def duplicate(text: str, target: str = "") -> ApiError:
    return ApiError(409, "1", f"duplicate entry: {text}", target)


def no_such_api() -> ApiError:
    return ApiError(404, "3", "API not found")


def no_such_method() -> ApiError:
    return ApiError(405, "1", "Method not allowed")


def not_authorized() -> ApiError:
    return ApiError(403, "6", "not authorized for that command")


def wrong_password() -> ApiError:
    return ApiError(401, "6691623", "User is not authorized")


def unexpected(name: str) -> ApiError:
    return ApiError(400, "262179", f'Unexpected argument "{name}".', name)


def invalid(name: str, value: object) -> ApiError:
    return ApiError(400, "262197", f'The value "{value}" is invalid for field "{name}"', name)


def required(name: str) -> ApiError:
    return ApiError(400, "262186", f'Field "{name}" is required.', name)


def bad_json(text: str) -> ApiError:
    return ApiError(400, "262254", f"Invalid JSON input: {text}")


def internal(text: str) -> ApiError:
    return ApiError(500, "2", f"The simulator failed: {text}")


def no_such_svm(name: str, target: str = "svm.name") -> ApiError:
    return ApiError(404, "2621462", f'SVM "{name}" does not exist.', target)


def svm_required() -> ApiError:
    return ApiError(400, "2621707", "No SVM was specified: give svm.name or svm.uuid.", "svm")


def svm_mismatch() -> ApiError:
    text = "The specified svm.uuid and svm.name refer to different SVMs."
    return ApiError(400, "2621706", text, "svm")


def no_such_volume(name: str, target: str = "name") -> ApiError:
    return ApiError(404, "917927", f'The volume "{name}" does not exist.', target)


def no_such_volume_uuid(uuid: str) -> ApiError:
    text = f'A volume with UUID "{uuid}" was not found.'
    return ApiError(404, "918235", text, "volume.uuid")


def no_such_lun(name: str, target: str = "name") -> ApiError:
    return ApiError(404, "5374875", f'LUN "{name}" does not exist.', target)


def no_such_clone_source(name: str, target: str) -> ApiError:
    return ApiError(404, "5374876", f'The source "{name}" does not exist.', target)


def no_space(volume: str) -> ApiError:
    return ApiError(400, "917534", f'There is not enough space in volume "{volume}".')


def no_such_igroup(name: str, target: str = "igroup.name") -> ApiError:
    return ApiError(404, "5374852", f'The initiator group "{name}" does not exist.', target)


def no_such_policy(name: str, target: str = "qos_policy.name") -> ApiError:
    return ApiError(404, "8454243", f'The QoS policy "{name}" does not exist.', target)


def no_such_file(path: str) -> ApiError:
    return ApiError(404, "6684674", f'No such file or directory: "{path}".', "path")
